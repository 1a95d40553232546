"""Answers."""

from dfx_backup.replica.reject import Reject
from dfx_backup.replica.system_api.frame import Frame, Trap

# ruff: noqa: D103 - the functions are specified under their names in the interface specification

MAX_REPLY = 2 << 20
MAX_QUERY_REPLY = 3 << 20


def msg_reply_data_append(frame: Frame, start: int, size: int) -> None:
    _check_open(frame, "msg_reply_data_append")
    limit = MAX_REPLY if frame.is_replicated else MAX_QUERY_REPLY
    total = len(frame.reply_data) + size
    if total > limit:
        raise Trap(f"application payload size ({total}) cannot be larger than {limit}", 504)
    frame.reply_data += frame.memory.read(start, size)


def msg_reply(frame: Frame) -> None:
    _check_open(frame, "msg_reply")
    frame.response = bytes(frame.reply_data)


def msg_reject(frame: Frame, start: int, size: int) -> None:
    _check_open(frame, "msg_reject")
    message = frame.text(start, size)
    frame.response = Reject(Reject.CANISTER_REJECT, message, "IC0406")


def _check_open(frame: Frame, name: str) -> None:
    if frame.response is not None or not frame.can_respond:
        raise Trap(f"{name}: the call is already replied", 504)
