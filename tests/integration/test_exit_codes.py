"""Every kind of error ends `main` once, with its exit code and its envelope."""

import fcntl
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import dfx_backup
from dfx_backup import errors
from dfx_backup.cli.app import main
from dfx_backup.errors import BackupError
from dfx_backup.operations.locks import lock_path
from dfx_backup.operations.target import target_key
from tests.fakes import cases, stable_cases
from tests.fakes.memory_management import STRANGER, How
from tests.fakes.stage import NETWORK_ID, Stage

CHAT = "rwlgt-iiaaa-aaaaa-aaaaa-cai"


def create(stage: Stage) -> int:
    return stage.run("snapshot", "create", "chat", "--json")


def real(stage: Stage, *argv: str, dfx_json: str = "{}") -> int:
    """Run with the real connector, in a project of the stage's folder."""
    (stage.folder / "dfx.json").write_text(dfx_json)
    around = stage.surroundings(env={"PATH": str(stage.folder / "no-bin")})
    code = main([*argv, "--json"], surroundings=around)
    stage.stdout = around.stdout.getvalue()  # type: ignore[attr-defined] # a StringIO
    return code


def identity(stage: Stage, **fields: object) -> None:
    """Write dfx's default identity, without a key that could be read."""
    folder = stage.folder / "home" / ".config" / "dfx" / "identity" / "default"
    folder.mkdir(parents=True)
    values = {"hsm": None, "encryption": None, "keyring_identity_suffix": None, **fields}
    (folder / "identity.json").write_text(json.dumps(values))
    (folder / "identity.pem.encrypted").write_bytes(bytes(300))


def a_bug(stage: Stage) -> int:
    stage.fails = RuntimeError("unexpected")
    return create(stage)


def usage(stage: Stage) -> int:
    return stage.run("snapshot", "create", "--json")


def incomplete(stage: Stage) -> int:
    cases.changed_meanwhile(stage)
    return create(stage)


def canister_down(stage: Stage) -> int:
    cases.frozen(stage)
    return create(stage)


def no_repository(stage: Stage) -> int:
    return real(stage, "list", "--repo", str(stage.folder / "nowhere"))


def locked(stage: Stage) -> int:
    lock = lock_path(stage.state, target_key(NETWORK_ID, stage.add("chat")))
    lock.parent.mkdir(parents=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        return create(stage)


def wrong_key(stage: Stage) -> int:
    identity(stage, encryption={"pw_salt": "00" * 32, "file_nonce": [0] * 12})
    (stage.folder / "password").write_text("not this one\n")
    words = ("snapshot", "list", CHAT, "--driver", "agent")
    return real(stage, *words, "--identity-password-file", "password")


def damage(stage: Stage) -> int:
    journal = stage.state / "journal" / f"{target_key(NETWORK_ID, stage.add('chat'))}.json"
    journal.parent.mkdir(parents=True)
    journal.write_text("{")
    return create(stage)


def project(stage: Stage) -> int:
    return real(stage, "snapshot", "list", "chat", dfx_json="{")


def unreadable_identity(stage: Stage) -> int:
    identity(stage, hsm={"pkcs11_lib_path": "/lib/x.so", "key_id": "00"})
    return real(stage, "snapshot", "list", CHAT, "--driver", "agent")


def tool(stage: Stage) -> int:
    return real(stage, "snapshot", "list", CHAT, "--driver", "icp")


def network(stage: Stage) -> int:
    with socket.socket() as deaf:  # bound and not listening: nobody else can answer there
        deaf.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        words = ("snapshot", "list", CHAT, "--driver", "agent", "--identity", "anonymous")
        return real(stage, *words, "--network", url)


def certificate(stage: Stage) -> int:
    stage.add("chat")
    error = errors.CertificateError("the answer is not certified by the network's root key")
    stage.subnet.fail("list_canister_snapshots", How.REJECT, error=error)
    return stage.run("snapshot", "list", "chat", "--json")


def rejected(stage: Stage) -> int:
    stage.subnet[stage.add("chat")].controllers = (STRANGER,)
    return stage.run("snapshot", "list", "chat", "--json")


def unknown_outcome(stage: Stage) -> int:
    cases.one_snapshot(stage)
    stage.subnet.fail("delete_canister_snapshot", How.NEVER)
    return stage.run("snapshot", "delete", "chat", cases.FIRST, "--yes", "--json")


def refused(stage: Stage) -> int:
    cases.one_snapshot(stage)
    return stage.run("snapshot", "delete", "chat", cases.FIRST, "--json")


def interrupted(stage: Stage) -> int:
    cases.interrupted(stage)
    return create(stage)


def endpoint(stage: Stage) -> int:
    stable_cases.without_methods(stage)
    return stage.run(*stable_cases.EXPORT, "--json")


def moving(stage: Stage) -> int:
    stable_cases.moving(stage)
    return stage.run(*stable_cases.EXPORT, "--json")


CASES: dict[type[BackupError], Callable[[Stage], int]] = {
    errors.BackupError: a_bug,
    errors.UsageError: usage,
    errors.IncompleteError: incomplete,
    errors.CanisterDownError: canister_down,
    errors.NoRepositoryError: no_repository,
    errors.LockedError: locked,
    errors.WrongKeyError: wrong_key,
    errors.DamageError: damage,
    errors.ProjectError: project,
    errors.UnreadableIdentityError: unreadable_identity,
    errors.ToolError: tool,
    errors.NetworkError: network,
    errors.CertificateError: certificate,
    errors.RejectError: rejected,
    errors.EndpointError: endpoint,
    errors.MovingError: moving,
    errors.UnknownOutcomeError: unknown_outcome,
    errors.RefusedError: refused,
    errors.InterruptedRunError: interrupted,
}


def error_classes(of: type[BackupError] = BackupError) -> Iterator[type[BackupError]]:
    """Every error class of the package."""
    yield of
    for below in of.__subclasses__():
        yield from error_classes(below)


def import_everything() -> None:
    for found in pkgutil.walk_packages(dfx_backup.__path__, "dfx_backup."):
        if not found.name.startswith("dfx_backup.replica") and not found.name.endswith("__main__"):
            importlib.import_module(found.name)


def test_every_family_has_a_case() -> None:
    import_everything()
    own = {each for each in error_classes() if each.__module__ == errors.__name__}

    assert own == set(CASES)


def test_errors_from_elsewhere_belong_to_a_family() -> None:
    import_everything()
    told = {(each.code, each.exit_code) for each in CASES}

    assert {(each.code, each.exit_code) for each in error_classes()} == told


@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
def test_the_error_ends_main(kind: type[BackupError], tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    code = CASES[kind](stage)

    told = stage.envelope
    assert code == told["exit_code"] == kind.exit_code
    assert [error["code"] for error in told["errors"]] == [kind.code]
    assert told["errors"][0]["message"]
    assert told["status"] == ("partial" if kind is errors.IncompleteError else "error")


def test_a_bug_leaves_its_traceback_in_a_file_without_secrets(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.fails = RuntimeError("unexpected")

    assert stage.run("snapshot", "list", "chat") == 1

    [file] = (stage.state / "crashes").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert "RuntimeError: unexpected" in file.read_text()
    assert str(file) in stage.stderr
    assert "Traceback" not in stage.stderr
    assert "This is a bug" in stage.stderr


def test_with_verbose_a_bug_shows_its_traceback(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.fails = RuntimeError("unexpected")

    assert stage.run("snapshot", "list", "chat", "--verbose") == 1

    assert "Traceback" in stage.stderr
    assert not (stage.state / "crashes").exists()


def test_a_bug_is_told_even_where_nothing_can_be_written(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.fails = RuntimeError("unexpected")
    (tmp_path / "file").write_text("")

    env = {"XDG_STATE_HOME": str(tmp_path / "file")}
    assert stage.run("snapshot", "list", "chat", env=env) == 1

    assert "Traceback" in stage.stderr


def test_ctrl_c_ends_with_130(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.fails = KeyboardInterrupt()

    assert stage.run("snapshot", "list", "chat") == 130
    assert stage.stderr.startswith("Error: ")


def test_sigterm_ends_with_130_too(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    stage = Stage(tmp_path)

    class Terminating(Stage):
        def canister(self, *_args: object, **_kwargs: object) -> None:  # type: ignore[override] # never returns
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)

    stage = Terminating(tmp_path)

    assert stage.run("snapshot", "list", "chat", "--json") == 130
    assert stage.envelope["errors"][0]["code"] == "interrupted"
    assert signal.getsignal(signal.SIGTERM) is before


def program(*argv: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "dfx_backup", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize(
    ("argv", "code"), [(["--help"], 0), (["--version"], 0), (["nope", "--json"], 2)], ids=str
)
def test_nobody_reading_is_no_error(argv: list[str], code: int) -> None:
    process = program(*argv)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr as stderr:
        told = stderr.read()

    assert process.wait(timeout=30) == code
    assert told == b""


def test_the_exit_code_reaches_the_shell() -> None:
    process = program("snapshot", "nope")
    _, told = process.communicate(timeout=30)

    assert process.returncode == 2
    assert b"No such command" in told
