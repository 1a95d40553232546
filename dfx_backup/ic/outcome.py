"""What became of a call: its status in the certified state, and how a rejection is told."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from dfx_backup.errors import CertificateError, NetworkError, RejectError, UnknownOutcomeError
from dfx_backup.ic import cbor
from dfx_backup.ic.certificate import Certificate, leaf_number
from dfx_backup.ic.envelope import SignedRequest
from dfx_backup.ic.hash_tree import Presence

_MAX_TEXT = 2000

_HINTS = {
    "IC0207": "The canister is out of cycles: top it up.",
    "IC0301": "No such canister on this network: check the id and the network.",
    "IC0512": "Use an identity that is a controller of the canister.",
    "IC0532": "The canister needs more cycles for the new memory: top it up.",
}


class ReplyPrunedError(UnknownOutcomeError):
    """The call was executed, but the replica has dropped its answer already."""


class UncertifiedOutcomeError(UnknownOutcomeError, CertificateError):
    """A call was sent, and what came back is not certified: so its outcome is not known."""

    code = "certificate"


class CallState(enum.Enum):
    """A call's place in the certified state (interface spec, "Request status")."""

    ABSENT = "absent"
    """Proven not to be there: not received yet, never, or forgotten."""
    UNKNOWN = "unknown"
    RECEIVED = "received"
    PROCESSING = "processing"
    REPLIED = "replied"
    REJECTED = "rejected"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class CallStatus:
    """What a certificate tells about a call.

    Attributes:
        state: its place.
        time_ns: the state's time, nanoseconds since the epoch.
        reply: the answer, when it replied.
        rejection: the refusal, when it was rejected.
    """

    state: CallState
    time_ns: int
    reply: bytes = b""
    rejection: RejectError | None = None


def call_status(certificate: Certificate, request_id: bytes, what: str) -> CallStatus:
    """Read a call's status out of a verified certificate.

    Args:
        certificate: what the network certified.
        request_id: the call's id.
        what: the call, for messages.

    Raises:
        CertificateError: the status is none, or lacks what belongs to it.
    """
    base = [b"request_status", request_id]
    tree, time_ns = certificate.tree, certificate.time_ns
    found = tree.lookup([*base, b"status"])
    if found.presence is not Presence.FOUND:
        absent = found.presence is Presence.ABSENT
        return CallStatus(CallState.ABSENT if absent else CallState.UNKNOWN, time_ns)
    try:
        state = CallState(found.value.decode("ascii", "replace"))
    except ValueError:
        raise CertificateError(f"{what}: the replica tells an unknown status") from None
    if state is CallState.REPLIED:
        reply = tree.value([*base, b"reply"])
        if reply is None:
            raise CertificateError(f"{what}: the certificate lacks the reply")
        return CallStatus(state, time_ns, reply=reply)
    if state is CallState.REJECTED:
        error_code = tree.value([*base, b"error_code"])
        rejection = rejected(
            what,
            reject_code=leaf_number(tree, [*base, b"reject_code"]),
            text=_text(tree.value([*base, b"reject_message"]) or b""),
            error_code=None if error_code is None else _text(error_code),
        )
        return CallStatus(state, time_ns, rejection=rejection)
    return CallStatus(state, time_ns)


def rejected(what: str, *, reject_code: int, text: str, error_code: str | None) -> RejectError:
    """The error for a rejection; its message names the call and gives the replica's own words."""
    shown = text[:_MAX_TEXT]
    code = f" ({error_code})" if error_code else ""
    return RejectError(
        f"{what} was refused{code}: {shown}",
        reject_code=reject_code,
        reject_message=shown,
        error_code=error_code,
        hint=_HINTS.get(error_code or ""),
    )


def plain_rejection(found: Mapping[str, object], what: str) -> RejectError:
    """A rejection that one node tells on its own, without a certificate.

    Raises:
        NetworkError: it is malformed.
    """
    answer = dict(found)
    reject_code = cbor.field(answer, "reject_code", int, f"{what}: the rejection")
    text = cbor.field(answer, "reject_message", str, f"{what}: the rejection")
    error_code = found.get("error_code")
    return rejected(
        what,
        reject_code=reject_code,
        text=text,
        error_code=error_code if isinstance(error_code, str) else None,
    )


def unknown(what: str, request: SignedRequest, why: NetworkError | None) -> UnknownOutcomeError:
    """The error for a call that was sent and whose outcome could not be learnt."""
    reason = "no answer in time" if why is None else why.message
    uncertified = isinstance(why, CertificateError)
    made = UncertifiedOutcomeError if uncertified else UnknownOutcomeError
    return made(
        f"{what}: it is not known whether the call executed: {reason}",
        request_id=request.request_id.hex(),
        expires_at=request.expires_at,
        hint="Look at the canister's state before trying again.",
    )


def pruned(what: str, request: SignedRequest) -> ReplyPrunedError:
    """The error for a call that has been executed and whose answer is gone."""
    return ReplyPrunedError(
        f"{what}: the call was executed, but the replica has dropped its answer",
        request_id=request.request_id.hex(),
        expires_at=request.expires_at,
        hint="Look at the canister's state before trying again.",
    )


def _text(leaf: bytes) -> str:
    return leaf.decode("utf-8", "replace")
