"""Why dfx failed. Its exit code is 255 whatever happened, so that only its words tell.

Two diagnoses (no controller, local replica down) replace the whole chain of causes; everything
else is a chain of lines `Error: …` and `Caused by: …`, older versions add blocks below it.
"""

import re
from collections.abc import Callable

from dfx_backup.drivers.dfx_argv import PLAINTEXT_OFF
from dfx_backup.drivers.failures import USAGE_CODE, Failure
from dfx_backup.errors import BackupError, NetworkError, ProjectError, RejectError, WrongKeyError

_IDENTITY = re.compile(r"The (\S+) identity is not stored securely")
_MISSING_IDENTITY = re.compile(r"Identity (\S+) does not exist at")

_REJECT_HINTS = {
    "IC0207": "top the canister up: `dfx canister deposit-cycles AMOUNT CANISTER`",
    "IC0210": "the subnet limits how fast it takes snapshots; try again in some minutes",
    "IC0512": "use the identity of a controller: `--identity NAME`",
}


def classify(failure: Failure) -> BackupError:
    """The error that a failed run of dfx stands for."""
    for reader in _READERS:
        error = reader(failure)
        if error is not None:
            return error
    if failure.finished.code < 0:
        return failure.killed("dfx")
    if failure.sends and _ATTEMPTED.search(failure.text):
        return failure.lost(failure.reason)
    return failure.failed(failure.reason)


def _rejected(failure: Failure) -> BackupError | None:
    return failure.rejected(_REJECT_HINTS)


def _no_controller(failure: Failure) -> BackupError | None:
    if "is not part of the controllers" not in failure.text:
        return None
    return RejectError(
        failure.message("the identity is no controller of the canister"),
        reject_code=5,
        reject_message="Only controllers of the canister can call this method",
        error_code="IC0512",
        hint=_REJECT_HINTS["IC0512"],
    )


def _wrong_passphrase(failure: Failure) -> BackupError | None:
    if "Failed to decrypt" not in failure.text:
        return None
    return WrongKeyError(
        failure.message("the passphrase does not open the identity"),
        hint="check the passphrase, or the file given as `--identity-password-file`",
    )


def _no_terminal(failure: Failure) -> BackupError | None:
    if "not a terminal" not in failure.text:
        return None
    return ProjectError(
        failure.message("dfx asks for the identity's passphrase"),
        hint="give the passphrase with `--identity-password-file FILE`",
    )


def _insecure_identity(failure: Failure) -> BackupError | None:
    found = _IDENTITY.search(failure.text)
    # Before 0.25.0 the same words are a warning, and the error is another one.
    if found is None or "Failed to create AgentEnvironment" not in failure.text:
        return None
    return ProjectError(
        failure.message(
            f"dfx refuses the identity {found.group(1)} on mainnet: it is stored plainly"
        ),
        hint=f"use a protected identity, or allow it with DFX_WARNING={PLAINTEXT_OFF}",
    )


def _missing(failure: Failure) -> BackupError | None:
    found = _MISSING_IDENTITY.search(failure.text)
    if found is not None:
        return ProjectError(
            failure.message(f"there is no identity {found.group(1)}"),
            hint="see `dfx identity list`",
        )
    for sign in ("Cannot find canister id", "Network not found", "Cannot find dfx configuration"):
        if sign in failure.text:
            return ProjectError(failure.message(failure.reason), hint="see dfx.json")
    return None


def _not_stopped(failure: Failure) -> BackupError | None:
    if not re.search(r"Canister \S+ is (?:running and snapshots|stopping but)", failure.text):
        return None
    return failure.failed("dfx wants it stopped first", hint="somebody started it in between")


def _replica_down(failure: Failure) -> BackupError | None:
    if "dfx cannot connect to it" not in failure.text:
        return None
    return failure.lost(
        "the local replica does not answer",
        hint="start it with `dfx start`, or name another network with `--network`",
    )


def _unknown_canister(failure: Failure) -> BackupError | None:
    if "canister_not_found" not in failure.text:
        return None
    return failure.unknown_canister("canister_not_found")


def _no_answer(failure: Failure) -> BackupError | None:
    signs = (
        "The request timed out.",
        "An error happened during communication with the replica",
        "The replica returned an HTTP Error",
    )
    if not any(sign in failure.text for sign in signs):
        return None
    # `create` and `load` ask for the status first: when that fails, nothing was sent.
    if "Could not retrieve status of canister" in failure.text:
        return NetworkError(failure.message(failure.reason))
    return failure.lost(failure.reason)


def _misunderstood(failure: Failure) -> BackupError | None:
    if failure.finished.code != USAGE_CODE:
        return None
    return failure.failed(
        "dfx does not know these arguments", hint="another version of dfx may; see `dfx --version`"
    )


_ATTEMPTED = re.compile(
    r"Failed to call update function|Update call|Failed to (?:stop|start) canister|"
    r"Failed to (?:take|load|delete) snapshot"
)

_READERS: tuple[Callable[[Failure], BackupError | None], ...] = (
    _rejected,
    _no_controller,
    _wrong_passphrase,
    _no_terminal,
    _insecure_identity,
    _missing,
    _not_stopped,
    _replica_down,
    _unknown_canister,
    _no_answer,
    _misunderstood,
)
