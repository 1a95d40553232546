"""What a canister learns about the message that it handles."""

from dfx_backup.replica.system_api.frame import Frame, Trap

# ruff: noqa: D103 - the functions are specified under their names in the interface specification


def msg_arg_data_size(frame: Frame) -> int:
    return len(frame.arg)


def msg_arg_data_copy(frame: Frame, target: int, offset: int, size: int) -> None:
    frame.copy_out(target, offset, size, frame.arg)


def msg_caller_size(frame: Frame) -> int:
    return len(frame.caller)


def msg_caller_copy(frame: Frame, target: int, offset: int, size: int) -> None:
    frame.copy_out(target, offset, size, frame.caller)


def msg_caller_info_data_size(_frame: Frame) -> int:
    return 0  # only users with canister signatures send it, and the edge does not take it


def msg_caller_info_data_copy(frame: Frame, target: int, offset: int, size: int) -> None:
    frame.copy_out(target, offset, size, b"")


def msg_caller_info_signer_size(_frame: Frame) -> int:
    return 0


def msg_caller_info_signer_copy(frame: Frame, target: int, offset: int, size: int) -> None:
    frame.copy_out(target, offset, size, b"")


def msg_reject_code(frame: Frame) -> int:
    return frame.reject.code if frame.reject else 0


def msg_reject_msg_size(frame: Frame) -> int:
    return len(_reject_message(frame))


def msg_reject_msg_copy(frame: Frame, target: int, offset: int, size: int) -> None:
    frame.copy_out(target, offset, size, _reject_message(frame))


def msg_deadline(frame: Frame) -> int:
    return frame.deadline


def msg_method_name_size(frame: Frame) -> int:
    return len(frame.method.encode())


def msg_method_name_copy(frame: Frame, target: int, offset: int, size: int) -> None:
    frame.copy_out(target, offset, size, frame.method.encode())


def accept_message(frame: Frame) -> None:
    if frame.is_accepted:
        raise Trap("accept_message: the message is accepted already", 504)
    frame.is_accepted = True


def _reject_message(frame: Frame) -> bytes:
    return frame.reject.message.encode() if frame.reject else b""
