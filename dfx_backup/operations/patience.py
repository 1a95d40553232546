"""Which failures pass by themselves, and how long to wait for that."""

from dfx_backup.errors import (
    BackupError,
    CertificateError,
    NetworkError,
    ProjectError,
    RejectError,
    ToolError,
    UnknownOutcomeError,
    UsageError,
    WrongKeyError,
)
from dfx_backup.ic.http_errors import HttpStatusError, TransportError
from dfx_backup.model import CanisterStatus
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.target import Clock, Runtime, Target

CANNOT_ASK = (NetworkError, ToolError)
"""What a look at the canister raises when it can't be asked just now."""

_PASSING_CODES = frozenset({"IC0210", "IC0211"})
"""Heap delta limit reached; subnet cooling down."""

_LASTING_CODES = frozenset({"IC0207", "IC0301", "IC0512"})
"""Out of cycles; no such canister; not a controller: trying again changes nothing."""

_LONGEST_PAUSE_S = 15.0


def passes(error: BackupError) -> bool:
    """Whether the same call may be sent again: nothing executed, and the cause goes away.

    An unknown outcome never counts: what became of that call must be found out first.
    """
    if isinstance(error, UnknownOutcomeError | CertificateError):
        return False
    if isinstance(error, TransportError | HttpStatusError):
        return not error.final
    if isinstance(error, RejectError):
        text = error.reject_message.lower()
        return (
            error.error_code in _PASSING_CODES
            or (error.error_code == "IC0504" and "heap delta" in text)
            or "not currently loadable" in text
        )
    return isinstance(error, NetworkError)


def lasts(error: BackupError) -> bool:
    """Whether starting a canister can't succeed however often it is tried."""
    return isinstance(error, RejectError) and error.error_code in _LASTING_CODES


def was_not_executed(error: BackupError) -> bool:
    """Whether the error proves that the call did not execute and never will.

    By the drivers' contract a `NetworkError` that is no unknown outcome says so, and what is wrong
    with an identity or a project comes up before anything is sent. A certificate that does not
    hold proves nothing, and neither does a program that failed for another reason.
    """
    if isinstance(error, UnknownOutcomeError | CertificateError):
        return False
    return isinstance(error, NetworkError | ProjectError | UsageError | WrongKeyError)


def quick_status(run: Runtime, target: Target) -> CanisterStatus:
    """The canister's status while it is stopped: a network that does not answer soon is left.

    Raises:
        NetworkError, ToolError: it can't be asked, or not within `Limits.look_s`.
    """
    if target.reader is None:
        return target.driver.status(target.canister_id)
    return target.reader.status(target.canister_id, within_s=run.limits.look_s)


class Patience:
    """Grows the pauses between tries, up to a point in time.

    Args:
        clock: the source of time.
        seconds: how long to go on.
        first_pause_s: the first pause; each later one is twice as long, up to 15 s.
    """

    def __init__(self, clock: Clock, seconds: float, *, first_pause_s: float = 1.0) -> None:
        self._clock = clock
        self._end = clock.monotonic() + seconds
        self._pause = first_pause_s

    def is_over(self) -> bool:
        """Whether the next pause would end too late."""
        return self._clock.monotonic() + self._pause > self._end

    def pause(self, interrupts: Interrupts | None = None) -> None:
        """Wait, and double the next pause.

        Raises:
            InterruptedRunError: a signal has come, and `interrupts` was given.
        """
        sleep_watching(self._clock, self._pause, interrupts)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_S)


def sleep_watching(clock: Clock, seconds: float, interrupts: Interrupts | None) -> None:
    """Sleep in small pieces, so that a signal is noticed soon.

    Raises:
        InterruptedRunError: a signal has come, and `interrupts` was given.
    """
    left = seconds
    while left > 0:
        if interrupts is not None:
            interrupts.check()
        piece = min(left, 0.5) if interrupts is not None else left
        clock.sleep(piece)
        left -= piece
    if interrupts is not None:
        interrupts.check()
