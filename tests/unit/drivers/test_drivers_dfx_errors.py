"""Why dfx failed: its real texts, and the errors that they stand for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfx_backup.drivers.dfx_errors import classify
from dfx_backup.drivers.failures import Failure
from dfx_backup.drivers.process import Finished, ProgramFailedError
from dfx_backup.errors import (
    BackupError,
    NetworkError,
    ProjectError,
    RejectError,
    UnknownOutcomeError,
    WrongKeyError,
)

NOW = 1_800_000_000.0
C = "rwlgt-iiaaa-aaaaa-aaaaa-cai"


def judged(stderr: str, *, sends: bool = True, code: int = 255) -> BackupError:
    done = Finished(argv=("/bin/dfx", "canister", "stop", C), code=code, stdout="", stderr=stderr)
    return classify(Failure(finished=done, doing=f"stop canister {C}", sends=sends, now=NOW))


def chain(*links: str) -> str:
    first, *rest = links
    return "\n".join([f"Error: {first}", *(f"Caused by: {link}" for link in rest)]) + "\n"


def rejected(name: str, text: str, error_code: str) -> str:
    return chain(
        f"Failed to take snapshot of canister {C}",
        f"Failed to take snapshot in canister {C}",
        f"Failed to call update function 'take_canister_snapshot' regarding canister '{C}'.",
        "Update call (without wallet) failed.",
        f"The replica returned a rejection error: reject code {name}, reject message {text}, "
        f"error code {error_code}",
    )


NO_CONTROLLER = """\
Error: Each canister has a set of controllers. Only those controllers have access to the \
canister's management functions (like install_code or stop_canister).
The principal you are using to call a management function is not part of the controllers.
To fix: To make the management function call succeed, you have to make sure the principal that \
calls the function is a controller.
"""

REPLICA_DOWN = """\
Error: You are trying to connect to the local replica but dfx cannot connect to it.
To fix: Target a different network or run 'dfx start' to start the local replica.
"""


@pytest.mark.parametrize(
    ("text", "reject_code", "error_code", "hint"),
    [
        (
            rejected(
                "CanisterReject",
                f"Canister {C} has reached the maximum number of snapshots allowed: 10.\nHelp.",
                'Some("IC0406")',
            ),
            4,
            "IC0406",
            "--replace",
        ),
        (
            rejected(
                "SysTransient",
                f"Canister {C} is out of cycles: requested 5 cycles but the available balance is "
                "3 cycles and the freezing threshold 9 cycles",
                'Some("IC0207")',
            ),
            2,
            "IC0207",
            "top the canister up",
        ),
        (
            rejected(
                "SysTransient", f"Canister {C} is heap delta rate limited: x", 'Some("IC0210")'
            ),
            2,
            "IC0210",
            "try again",
        ),
        (
            rejected(
                "DestinationInvalid", f"Could not find the snapshot ID 00 for canister {C}.", "None"
            ),
            3,
            None,
            None,
        ),
        (
            rejected(
                "CanisterError",
                f"Only controllers of canister {C} can call ic00 method stop_canister",
                'Some("IC0512")',
            ),
            5,
            "IC0512",
            "--identity",
        ),
        (NO_CONTROLLER, 5, "IC0512", "--identity"),
        (
            chain(
                f"Failed to stop canister {C}.",
                "The replica returned an HTTP Error: Http Error: status 400 Bad Request, content "
                'type "text/plain; charset=utf-8", content: error: canister_not_found',
            ),
            3,
            "IC0301",
            "--network",
        ),
    ],
)
def test_refusals_of_the_replica(
    text: str, reject_code: int, error_code: str | None, hint: str | None
) -> None:
    error = judged(text)
    assert isinstance(error, RejectError)
    assert (error.reject_code, error.error_code) == (reject_code, error_code)
    assert error.exit_code == 50
    assert (hint or "") in (error.hint or "")
    assert C in error.message


def test_the_whole_text_of_a_reject_is_kept() -> None:
    error = judged(rejected("CanisterReject", "first line\nsecond line", 'Some("IC0406")'))
    assert isinstance(error, RejectError)
    assert error.reject_message == "first line\nsecond line"


@pytest.mark.parametrize(
    ("text", "kind", "said", "hint"),
    [
        (
            chain(
                "Failed to load PEM",
                "Failed to decrypt PEM file at /home/u/a/identity.pem.encrypted",
                "Failed to decrypt content",
            ),
            WrongKeyError,
            "passphrase",
            "--identity-password-file",
        ),
        (
            chain("Failed to load", "Failed to read user input", "IO error: not a terminal"),
            ProjectError,
            "passphrase",
            "--identity-password-file",
        ),
        (
            chain(
                "Failed to create AgentEnvironment.",
                "Failed to create AgentEnvironment for network 'ic'.",
                "The default identity is not stored securely. Do not use it to control a lot of "
                "cycles/ICP.\n- For enhanced security, please use …",
            ),
            ProjectError,
            "identity default",
            "DFX_WARNING=-mainnet_plaintext_identity",
        ),
        (
            chain(
                "Failed to create AgentEnvironment.",
                "The specified identity must exist",
                "Identity bob does not exist at '/home/u/.config/dfx/identity/bob/identity.json'.",
            ),
            ProjectError,
            "no identity bob",
            "dfx identity list",
        ),
        (
            chain("Cannot find canister id. Please issue 'dfx canister create chat'."),
            ProjectError,
            "Cannot find canister id",
            "dfx.json",
        ),
        (
            chain("Failed to create AgentEnvironment.", "Network not found: mainnet"),
            ProjectError,
            "Network not found: mainnet",
            "dfx.json",
        ),
    ],
)
def test_what_lies_with_the_user_comes_before_anything_is_sent(
    text: str, kind: type[BackupError], said: str, hint: str
) -> None:
    error = judged(text)
    assert type(error) is kind
    assert said in error.message
    assert hint in (error.hint or "")


LOST = [
    REPLICA_DOWN,
    chain(f"Failed to stop canister {C}.", "The request timed out."),
    chain(
        f"Failed to stop canister {C}.",
        "An error happened during communication with the replica: error sending request for url "
        "(https://icp0.io/api/v4/canister/x/call)",
    ),
    chain(
        f"Failed to stop canister {C}.",
        "The replica returned an HTTP Error: Http Error: status 502 Bad Gateway, content type "
        '"text/html", content: oops',
    ),
]


@pytest.mark.parametrize("text", LOST)
def test_a_lost_answer_leaves_the_outcome_of_a_call_open(text: str) -> None:
    error = judged(text)
    assert isinstance(error, UnknownOutcomeError)
    assert error.request_id is None
    assert error.expires_at == NOW + 300


@pytest.mark.parametrize("text", LOST)
def test_a_lost_answer_to_a_question_is_a_network_error(text: str) -> None:
    error = judged(text, sends=False)
    assert type(error) is NetworkError


def test_a_replica_that_is_down_has_a_hint() -> None:
    assert "dfx start" in (judged(REPLICA_DOWN, sends=False).hint or "")


def test_a_status_that_fails_first_means_that_nothing_was_sent() -> None:
    error = judged(
        chain(
            f"Could not retrieve status of canister {C}",
            f"Failed to get canister status of {C}.",
            "The request timed out.",
        )
    )
    assert type(error) is NetworkError


def test_an_unknown_failure_of_an_attempted_call_leaves_its_outcome_open() -> None:
    error = judged(chain("Failed to call update function 'x'", "Certificate verification failed."))
    assert isinstance(error, UnknownOutcomeError)


def test_an_unknown_failure_before_the_call_is_the_tools() -> None:
    error = judged(chain("Failed to read dfx.json", "expected value at line 1 column 1"))
    assert type(error) is ProgramFailedError
    assert "expected value at line 1 column 1" in error.message
    assert error.status == 255


def test_a_killed_dfx_leaves_the_outcome_of_a_call_open() -> None:
    error = judged("", code=-9)
    assert isinstance(error, UnknownOutcomeError)
    assert "signal 9" in error.message
    assert type(judged("", code=-9, sends=False)) is ProgramFailedError


def test_a_running_canister_is_the_tools_to_refuse() -> None:
    error = judged(
        chain(
            f"Canister {C} is running and snapshots should not be taken of running canisters. Run "
            "`dfx canister stop` first"
        )
    )
    assert type(error) is ProgramFailedError
    assert "stopped first" in error.message


def test_unknown_arguments_are_the_tools_to_refuse() -> None:
    error = judged("error: unexpected argument '--x' found\n", code=2)
    assert type(error) is ProgramFailedError
    assert "does not know these arguments" in error.message


@given(st.text(), st.booleans(), st.integers(-20, 255))
def test_no_text_breaks_the_judge(text: str, sends: bool, code: int) -> None:  # noqa: FBT001 # drawn
    error = judged(text, sends=sends, code=code)
    assert isinstance(error, BackupError)
    assert error.message
