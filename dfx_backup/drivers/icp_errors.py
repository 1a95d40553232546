"""Why icp failed. Its exit code is 1 whatever happened, so that only its words tell.

They are `Error: …` and below `Caused by:` the chain of causes. A call's failure always begins with
`direct update call failed`; whether that call was the one that changes something or the status
that `snapshot create` and `restore` read first, the words do not tell.
"""

import re
from collections.abc import Callable

from dfx_backup.drivers.failures import USAGE_CODE, Failure
from dfx_backup.errors import (
    BackupError,
    CertificateError,
    ProjectError,
    UnreadableIdentityError,
    WrongKeyError,
)

_PANIC_CODE = 101
_HINTS = {
    "IC0207": "top the canister up: `icp canister top-up --amount AMOUNT CANISTER`",
    "IC0210": "the subnet limits how fast it takes snapshots; try again in some minutes",
    "IC0512": "use the identity of a controller: `--identity NAME`",
}
_MISSING_IDENTITY = re.compile(r"no identity found with name `([^`]*)`")
_NO_CANISTER = re.compile(r"Canister \S+ was not found\.")
_NOT_STOPPED = re.compile(r"Canister .* is (?:currently running|still stopping)\.")
_NOT_CERTIFIED = re.compile(
    r"Certificate verification failed|Certificate is (?:stale|not authorized)|"
    r"(?:malformed|[Ii]nvalid) (?:certificate|signature|public key)"
)


def classify(failure: Failure) -> BackupError:
    """The error that a failed run of icp stands for."""
    for reader in _READERS:
        error = reader(failure)
        if error is not None:
            return error
    if failure.finished.code < 0:
        return failure.killed("icp")
    if failure.sends and failure.finished.code == _PANIC_CODE:
        return failure.lost(failure.reason)
    return failure.failed(failure.reason)


def _rejected(failure: Failure) -> BackupError | None:
    return failure.rejected(_HINTS)


def _unknown_canister(failure: Failure) -> BackupError | None:
    if "canister_not_found" in failure.text:  # a boundary node's answer
        return failure.unknown_canister("canister_not_found")
    found = _NO_CANISTER.search(failure.text)
    return None if found is None else failure.unknown_canister(found.group(0))


def _wrong_password(failure: Failure) -> BackupError | None:
    if not any(sign in failure.text for sign in ("decipher key", "PKCS#5 encryption failed")):
        return None
    return WrongKeyError(
        failure.message("the password does not open the identity"),
        hint="check the password, or the file given as `--identity-password-file`",
    )


def _no_password(failure: Failure) -> BackupError | None:
    if "failed to read password" not in failure.text:
        return None
    return ProjectError(
        failure.message("icp asks for the identity's password"),
        hint="give the password with `--identity-password-file FILE`",
    )


def _keyring(failure: Failure) -> BackupError | None:
    signs = ("keyring entry", "Platform secure storage failure", "secure storage")
    if not any(sign in failure.text for sign in signs):
        return None
    return UnreadableIdentityError(
        failure.message(f"icp can't read the identity from the keyring: {failure.reason}"),
        hint="unlock the keyring, or use an identity made with "
        "`icp identity new NAME --storage password`",
    )


def _identity(failure: Failure) -> BackupError | None:
    found = _MISSING_IDENTITY.search(failure.text)
    if found is not None:
        return ProjectError(
            failure.message(f"there is no identity {found.group(1)}"),
            hint="see `icp identity list`",
        )
    if "failed to load identity" in failure.text:
        return ProjectError(failure.message(failure.reason), hint="see `icp identity list`")
    return None


def _not_stopped(failure: Failure) -> BackupError | None:
    if not _NOT_STOPPED.search(failure.text):
        return None
    return failure.failed("icp wants it stopped first", hint="somebody started it in between")


def _not_certified(failure: Failure) -> BackupError | None:
    if not _NOT_CERTIFIED.search(failure.text):
        return None
    hint = "check `--network` and `--root-key`, and this machine's clock"
    if failure.sends:  # the call was sent, and only the answer was refused
        return failure.lost(failure.reason, hint=hint)
    return CertificateError(failure.message(failure.reason), hint=hint)


def _no_answer(failure: Failure) -> BackupError | None:
    signs = (
        "update call failed",
        "failed to decode call response",
        "An error happened during communication with the replica",
        "The replica returned an HTTP Error",
        "The request timed out",
    )
    if not any(sign in failure.text for sign in signs):
        return None
    return failure.lost(failure.reason)


def _misunderstood(failure: Failure) -> BackupError | None:
    if failure.finished.code != USAGE_CODE:
        return None
    return failure.failed(
        "icp does not know these arguments", hint="another version of icp may; see `icp --version`"
    )


_READERS: tuple[Callable[[Failure], BackupError | None], ...] = (
    _rejected,
    _unknown_canister,
    _wrong_password,
    _no_password,
    _keyring,
    _identity,
    _not_stopped,
    _not_certified,
    _no_answer,
    _misunderstood,
)
