import errno
import io
import json
import os

import pytest

from dfx_backup.cli import output
from dfx_backup.errors import (
    BackupError,
    CanisterDownError,
    IncompleteError,
    InterruptedRunError,
    NetworkError,
    RefusedError,
)


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ((), 0),
        ((NetworkError("a"), RefusedError("b")), 50),
        ((IncompleteError("a"), RefusedError("b")), 60),
        ((NetworkError("a"), InterruptedRunError("b")), 130),
        ((InterruptedRunError("a"), CanisterDownError("b")), 4),
        ((IncompleteError("a"),), 3),
    ],
)
def test_the_gravest_error_decides_the_exit_code(
    errors: tuple[BackupError, ...], code: int
) -> None:
    assert output.exit_code(errors) == code


def raised(*errors: BaseException) -> BaseException:
    """The last of them, raised while the ones before were handled."""
    try:
        try:
            raise errors[0]
        except type(errors[0]):
            if len(errors) > 1:
                raise raised(*errors[1:]) from None
            raise
    except BaseException as error:  # noqa: BLE001 - handed on
        return error


def test_an_interrupt_that_led_to_a_canister_down_is_told_as_well() -> None:
    error = raised(InterruptedRunError("stopped by hand"), CanisterDownError("chat is down"))

    assert [each.code for each in output.causes(error)] == ["canister-down", "interrupted"]


def test_a_canister_down_is_told_first_although_another_error_ended_the_run() -> None:
    error = raised(CanisterDownError("chat is down"), NetworkError("no network"))

    assert [each.code for each in output.causes(error)] == ["canister-down", "network"]


def test_an_ordinary_cause_is_not_told_twice() -> None:
    error = raised(NetworkError("lower"), RefusedError("higher"))

    assert [each.code for each in output.causes(error)] == ["refused"]


def test_what_is_told_already_is_not_told_again() -> None:
    shorter = CanisterDownError("chat is down", hint="start it")
    longer = CanisterDownError("chat is down; a snapshot stays", hint="start it")

    assert output.causes(raised(shorter, longer)) == (longer,)
    other = CanisterDownError("chat is down", hint="top it up")
    assert set(output.causes(raised(other, longer))) == {longer, other}


def test_members_of_a_group_count() -> None:
    group = BaseExceptionGroup("several", [KeyboardInterrupt(), CanisterDownError("chat is down")])
    error = raised(group, NetworkError("no network"))

    assert [each.code for each in output.causes(error)] == ["canister-down", "network"]


def test_the_envelope_has_its_fields_in_order_and_clean_text() -> None:
    error = RefusedError("no\x1b[31m!", hint="try\x07 again")
    told = output.envelope(
        "snapshot list", data={"a": (1, 2)}, errors=[error], warnings=["w", "w", "\x1b[0mx"]
    )

    assert json.loads(told) == {
        "output_version": 1,
        "command": "snapshot list",
        "status": "error",
        "exit_code": 60,
        "data": {"a": [1, 2], "warnings": ["w", "x"]},
        "errors": [{"code": "refused", "message": "no!", "hint": "Try again."}],
    }
    assert list(json.loads(told)) == [
        "output_version",
        "command",
        "status",
        "exit_code",
        "data",
        "errors",
    ]


@pytest.mark.parametrize(
    ("errors", "status"),
    [
        ((), "success"),
        ((IncompleteError("a"),), "partial"),
        ((IncompleteError("a"), RefusedError("b")), "error"),
    ],
)
def test_the_status_follows_the_exit_code(errors: tuple[BackupError, ...], status: str) -> None:
    told = json.loads(output.envelope(None, data={}, errors=errors, warnings=()))

    assert told["status"] == status
    assert told["command"] is None


def test_text_that_the_terminal_cannot_show_is_escaped() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")

    assert output.write(stream, ["sn\u00f6\udc80"]) is None
    assert raw.getvalue() == b"sn\\xf6\\udc80\n"


def test_nobody_reading_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        assert isinstance(output.write(stream, ["hello"]), BrokenPipeError)
        assert output.write(stream, ["into the void"]) is None


def test_a_full_disk_is_told_and_ends_nothing() -> None:
    with open("/dev/full", "w") as stream:  # noqa: PTH123 - a device, not a file
        failure = output.write(stream, ["hello"])
        assert failure is not None
        assert failure.errno == errno.ENOSPC
        assert output.write(stream, ["into the void"]) is None
