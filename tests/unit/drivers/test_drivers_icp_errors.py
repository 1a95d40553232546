"""Why icp failed: its real texts, and the errors that they stand for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfx_backup.drivers.failures import Failure
from dfx_backup.drivers.icp_errors import classify
from dfx_backup.drivers.process import Finished, ProgramFailedError
from dfx_backup.errors import (
    BackupError,
    CertificateError,
    NetworkError,
    ProjectError,
    RejectError,
    UnknownOutcomeError,
    UnreadableIdentityError,
    WrongKeyError,
)

NOW = 1_800_000_000.0
C = "bnz7o-iuaaa-aaaaa-qaaaa-cai"


def judged(stderr: str, *, sends: bool = True, code: int = 1) -> BackupError:
    done = Finished(argv=("/bin/icp", "canister", "stop", C), code=code, stdout="", stderr=stderr)
    return classify(Failure(finished=done, doing=f"stop canister {C}", sends=sends, now=NOW))


def called(cause: str) -> str:
    """What icp prints when the agent fails: everything twice."""
    indented = cause.replace("\n", "\n    ")
    return f"Error: direct update call failed: {cause}\n\nCaused by:\n    {indented}\n"


def rejected(name: str, text: str, error_code: str) -> str:
    return called(
        f"The replica returned a rejection error: reject code {name}, reject message {text}, "
        f"error code {error_code}"
    )


@pytest.mark.parametrize(
    ("text", "reject_code", "error_code", "hint"),
    [
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
        (rejected("SysTransient", "out of cycles", 'Some("IC0207")'), 2, "IC0207", "top-up"),
        (rejected("SysTransient", "two\nlines", 'Some("IC0210")'), 2, "IC0210", "minutes"),
        (
            rejected("CanisterReject", "has reached the maximum number of snapshots", "None"),
            4,
            None,
            None,
        ),
        (
            rejected(
                "CanisterReject",
                "Canister has reached the maximum number of snapshots allowed: 10.",
                'Some("IC0406")',
            ),
            4,
            "IC0406",
            "--replace",
        ),
        (f"Error: Canister {C} was not found.\n", 3, "IC0301", "--network"),
        (
            called(
                "The replica returned an HTTP Error: Http Error: status 400 Bad Request, content "
                'type "text/plain", content: error: canister_not_found'
            ),
            3,
            "IC0301",
            "--network",
        ),
    ],
)
@pytest.mark.parametrize("sends", [True, False])
def test_refusals_of_the_replica(
    *, text: str, reject_code: int, error_code: str | None, hint: str | None, sends: bool
) -> None:
    error = judged(text, sends=sends)
    assert isinstance(error, RejectError)
    assert (error.reject_code, error.error_code) == (reject_code, error_code)
    assert (hint or "") in (error.hint or "")
    assert C in error.message


NO_KEYRING = """\
Error: failed to load identity

Caused by:
    0: failed to load password from keyring entry
    1: Platform secure storage failure: DBus error: Unable to autolaunch a dbus-daemon
    2: DBus error: Unable to autolaunch a dbus-daemon
"""


@pytest.mark.parametrize(
    ("text", "kind", "hint"),
    [
        (
            (
                "Error: failed to load identity\n\nCaused by:\n    0: failed to load PEM from "
                "`file `/h/x.pem``: failed to decipher key\n    1: PKCS#5 encryption failed\n"
            ),
            WrongKeyError,
            "--identity-password-file",
        ),
        (
            (
                "Error: failed to load identity\n\nCaused by:\n    failed to read password: "
                "IO error: not a terminal\n"
            ),
            ProjectError,
            "--identity-password-file",
        ),
        (NO_KEYRING, UnreadableIdentityError, "unlock the keyring"),
        (
            "Error: failed to load identity\n\nCaused by:\n    no identity found with name `bob`\n",
            ProjectError,
            "icp identity list",
        ),
        (
            "Error: failed to load identity\n\nCaused by:\n    the sun is in the wrong place\n",
            ProjectError,
            "icp identity list",
        ),
        (
            (
                f"Error: Canister {C} ({C}) is currently running. Please stop the canister first "
                "with `icp canister stop`.\n"
            ),
            ProgramFailedError,
            "in between",
        ),
        (
            f"Error: Canister {C} ({C}) is still stopping. Please wait for it to fully stop.\n",
            ProgramFailedError,
            "in between",
        ),
    ],
)
@pytest.mark.parametrize("sends", [True, False])
def test_what_was_not_sent(*, text: str, kind: type[BackupError], hint: str, sends: bool) -> None:
    error = judged(text, sends=sends)
    assert type(error) is kind
    assert hint in (error.hint or "")


def test_usage() -> None:
    error = judged("error: unexpected argument '--nope' found\n\nUsage: icp\n", code=2)
    assert type(error) is ProgramFailedError
    assert "icp --version" in (error.hint or "")


@pytest.mark.parametrize(
    "cause",
    [
        "Certificate verification failed.",
        "Certificate is stale (over 240s). Is the computer's clock synchronized?",
        "Certificate is not authorized to respond to queries for this canister.",
    ],
)
def test_answers_that_prove_nothing(cause: str) -> None:
    asked = judged(called(cause), sends=False)
    assert type(asked) is CertificateError
    sent = judged(called(cause))
    assert isinstance(sent, UnknownOutcomeError)
    assert sent.expires_at == NOW + 300
    assert "--root-key" in (sent.hint or "")


@pytest.mark.parametrize(
    "cause",
    [
        (
            "An error happened during communication with the replica: error sending request "
            "for url (http://127.0.0.1:1/api/v4/canister/x/call)"
        ),
        (
            "The replica returned an HTTP Error: Http Error: status 503 Service Unavailable, "
            'content type "", content: x'
        ),
        "The request timed out.",
        "words that nobody has heard before",
    ],
)
def test_answers_that_did_not_come(cause: str) -> None:
    sent = judged(called(cause))
    assert isinstance(sent, UnknownOutcomeError)
    assert (sent.request_id, sent.expires_at) == (None, NOW + 300)
    asked = judged(called(cause), sends=False)
    assert type(asked) is NetworkError
    assert asked.message.count(cause.rstrip(".")) == 1  # icp says it twice


def test_a_reply_that_icp_does_not_understand_may_have_had_its_effect() -> None:
    text = "Error: failed to decode call response: missing field version\n"
    assert isinstance(judged(text), UnknownOutcomeError)


@pytest.mark.parametrize("code", [101, -9])
def test_a_run_that_broke_off(code: int) -> None:
    assert isinstance(judged("", code=code), UnknownOutcomeError)
    assert isinstance(judged("", code=code, sends=False), ProgramFailedError)


def test_everything_else_failed_by_itself() -> None:
    text = "Error: Filesystem operation failed at /h/settings\n\nCaused by:\n    Not a directory\n"
    error = judged(text)
    assert type(error) is ProgramFailedError
    assert "Filesystem operation failed at /h/settings: Not a directory" in error.message


@given(text=st.text(max_size=200), code=st.sampled_from([1, 2, 101, -15]), sends=st.booleans())
def test_any_words_are_some_error(*, text: str, code: int, sends: bool) -> None:
    assert judged(text, code=code, sends=sends).exit_code in (12, 30, 40, 50)
