"""Every error that this program reports, one family per exit code.

`main` catches `BackupError` and turns it into text or JSON. The message names the object and says
what happened; the hint says what to do next. Both are written so that they can be joined to others:
without a full stop, and in lower case unless a name comes first. `cli.output` makes sentences of
them. `docs/exit-codes.md` is tested against these classes.
"""

from typing import ClassVar


class BackupError(Exception):
    """Something went wrong that the user must know of; raised as such only for our own bugs.

    Attributes:
        code: stable slug for scripts, part of the JSON envelope.
        exit_code: exit code of the process.
        message: what happened, to which object.
        hint: what to do about it, or None.
    """

    code: ClassVar[str] = "internal"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def advise(self, more: str) -> None:
        """Add something to the hint."""
        self.hint = f"{self.hint.rstrip('.')}; {more}" if self.hint else more


class UsageError(BackupError):
    """The command line can't be carried out as it was typed."""

    code = "usage"
    exit_code = 2


class IncompleteError(BackupError):
    """The work is done, but not all of it, or not as well as was asked for."""

    code = "incomplete"
    exit_code = 3


class CanisterDownError(BackupError):
    """A canister that was running is not running now: somebody has to act."""

    code = "canister-down"
    exit_code = 4


class NoRepositoryError(BackupError):
    """There is no repository where one is needed."""

    code = "no-repository"
    exit_code = 10


class LockedError(BackupError):
    """Another run holds the canister or the repository."""

    code = "locked"
    exit_code = 11


class WrongKeyError(BackupError):
    """A password or key does not open what it should open."""

    code = "wrong-key"
    exit_code = 12


class DamageError(BackupError):
    """Stored data is not what was once written."""

    code = "damage"
    exit_code = 20


class ProjectError(BackupError):
    """A project file, a setting or an identity is missing or can't be read."""

    code = "project"
    exit_code = 30


class UnreadableIdentityError(ProjectError):
    """An identity exists, but its key can't be read here: a hardware key or a locked keyring."""

    code = "identity-unreadable"


class ToolError(BackupError):
    """A program that we drive is missing, too old, or failed."""

    code = "tool"
    exit_code = 40


class NetworkError(BackupError):
    """The network or a replica could not be reached, or its answer can't be used."""

    code = "network"
    exit_code = 50


class CertificateError(NetworkError):
    """An answer is not certified by the network that it claims to come from."""

    code = "certificate"


class RejectError(NetworkError):
    """The replica refused a call.

    Attributes:
        reject_code: 1 to 6 (interface specification, "Reject codes").
        error_code: the replica's own code such as "IC0406", when it gave one.
        reject_message: the replica's text.
    """

    code = "rejected"

    def __init__(
        self,
        message: str,
        *,
        reject_code: int,
        reject_message: str,
        error_code: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.reject_code = reject_code
        self.reject_message = reject_message
        self.error_code = error_code


class EndpointError(NetworkError):
    """A canister's own backup method answered with an error, or with less than it promises.

    Attributes:
        case: which error of the interface, such as `too_large`; `malformed` for an answer that is
            none, `missing` where there is no such method.
        detail: what came with it: a number of bytes, an offset, a text, or None.
    """

    code = "endpoint"

    def __init__(
        self,
        message: str,
        *,
        case: str,
        detail: int | str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.case = case
        self.detail = detail


class UnknownOutcomeError(NetworkError):
    """A call was sent and its answer was lost: it may have executed, or may still until it expires.

    Attributes:
        request_id: hexadecimal request id, when we signed the call ourselves.
        expires_at: seconds since the epoch after which the call can't execute any more.
    """

    code = "unknown-outcome"

    def __init__(
        self,
        message: str,
        *,
        request_id: str | None,
        expires_at: float,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.request_id = request_id
        self.expires_at = expires_at


class RefusedError(BackupError):
    """The command was refused because it would not be safe."""

    code = "refused"
    exit_code = 60


class MovingError(RefusedError):
    """A canister's memory never held still: no copy of it would be of one moment."""

    code = "moving"


class InterruptedRunError(BackupError):
    """The user or the system interrupted the run (SIGINT, SIGTERM or SIGHUP)."""

    code = "interrupted"
    exit_code = 130
