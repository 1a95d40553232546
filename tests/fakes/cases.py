"""Command lines with a place to run them in: one for each kind of envelope that there is."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dfx_backup.errors import NetworkError
from tests.fakes.memory_management import How
from tests.fakes.stage import Stage

FIRST = "000000000000000000000000000000000101"
SECOND = "000000000000000100000000000000000101"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A command line, what happens before it, and its exit code."""

    argv: tuple[str, ...]
    prepare: Callable[[Stage], None]
    code: int = 0


def envelope(case: Case, folder: Path) -> str:
    """The envelope of a case, with the folder's name taken out."""
    stage = Stage(folder)
    case.prepare(stage)
    code = stage.run(*case.argv, "--json")
    assert code == case.code, (code, stage.stdout, stage.stderr)
    return re.sub(re.escape(str(folder)), "FOLDER", stage.stdout)


def chat(stage: Stage) -> None:
    stage.add("chat")


def one_snapshot(stage: Stage) -> None:
    stage.add("chat")
    assert stage.run("snapshot", "create", "chat") == 0


def changed_meanwhile(stage: Stage) -> None:
    """Another controller changes the canister between our stop and our start."""
    canister = stage.subnet[stage.add("chat")]

    def change() -> None:
        canister.version += 2

    stage.subnet.later(1.8, change)  # each call takes half a second; the stop is the third


def interrupted(stage: Stage) -> None:
    stage.add("chat")
    stage.subnet.fail("take_canister_snapshot", How.RAISE)


def unreachable(stage: Stage) -> None:
    stage.add("chat")
    stage.fails = NetworkError(
        "http://127.0.0.1:4943 does not answer: connection refused",
        hint="Is the network running?",
    )


def stopped_by_somebody(stage: Stage) -> None:
    stage.add("chat")
    target = stage.subnet[stage.names["chat"]]
    target.state = type(target.state)("stopped")


def killed_between_stop_and_start(stage: Stage) -> None:
    """A journal entry is left, and the canister is stopped: what kill -9 leaves behind."""
    stage.add("chat")
    stage.subnet.fail("start_canister", How.UNSENT, times=1000)
    assert stage.run("snapshot", "create", "chat") == 4
    stage.subnet._faults.clear()


def frozen(stage: Stage) -> None:
    stage.add("chat")
    stage.subnet[stage.names["chat"]].frozen = True


DOWNLOAD = ("snapshot", "download", "chat", FIRST, "--dir", "copy", "--concurrency", "1")
UPLOAD = ("snapshot", "upload", "chat", "--dir", "copy", "--concurrency", "1")
VERIFY = ("snapshot", "verify", "--dir", "copy")


def a_copy(stage: Stage) -> None:
    one_snapshot(stage)
    assert stage.run(*DOWNLOAD) == 0


def a_damaged_copy(stage: Stage) -> None:
    a_copy(stage)
    (stage.folder / "copy" / "wasm_memory.bin").write_bytes(b"")


def an_unproven_copy(stage: Stage) -> None:
    a_copy(stage)
    (stage.folder / "copy" / "backup.json").unlink()


def too_poor(stage: Stage) -> None:
    a_copy(stage)
    stage.subnet[stage.names["chat"]].cycles = 10**6


ENVELOPES = {
    "snapshot-download": Case(argv=DOWNLOAD, prepare=one_snapshot),
    "snapshot-download-dry-run": Case(argv=(*DOWNLOAD, "--dry-run"), prepare=one_snapshot),
    "snapshot-download-refused": Case(argv=DOWNLOAD, prepare=a_copy, code=60),
    "snapshot-upload": Case(argv=UPLOAD, prepare=a_copy),
    "snapshot-upload-dry-run": Case(argv=(*UPLOAD, "--dry-run"), prepare=a_copy),
    "snapshot-upload-too-poor": Case(argv=UPLOAD, prepare=too_poor, code=60),
    "snapshot-verify": Case(argv=VERIFY, prepare=a_copy),
    "snapshot-verify-damaged": Case(argv=VERIFY, prepare=a_damaged_copy, code=20),
    "snapshot-verify-unproven": Case(argv=VERIFY, prepare=an_unproven_copy, code=3),
    "estimate": Case(argv=("estimate", "chat"), prepare=chat),
    "snapshot-create": Case(argv=("snapshot", "create", "chat"), prepare=chat),
    "snapshot-create-live": Case(argv=("snapshot", "create", "chat", "--live"), prepare=chat),
    "snapshot-create-dry-run": Case(
        argv=("snapshot", "create", "chat", "--dry-run", "--replace", FIRST), prepare=one_snapshot
    ),
    "snapshot-create-down": Case(argv=("snapshot", "create", "chat"), prepare=frozen, code=4),
    "snapshot-create-partial": Case(
        argv=("snapshot", "create", "chat"), prepare=changed_meanwhile, code=3
    ),
    "snapshot-create-interrupted": Case(
        argv=("snapshot", "create", "chat"), prepare=interrupted, code=130
    ),
    "snapshot-create-refused": Case(
        argv=("snapshot", "create", "chat"), prepare=stopped_by_somebody, code=60
    ),
    "snapshot-list": Case(argv=("snapshot", "list", "chat"), prepare=one_snapshot),
    "snapshot-load": Case(argv=("snapshot", "load", "chat", FIRST, "--yes"), prepare=one_snapshot),
    "snapshot-load-dry-run": Case(
        argv=("snapshot", "load", "chat", FIRST, "--dry-run"), prepare=one_snapshot
    ),
    "snapshot-load-unconfirmed": Case(
        argv=("snapshot", "load", "chat", FIRST), prepare=one_snapshot, code=60
    ),
    "snapshot-delete": Case(
        argv=("snapshot", "delete", "chat", FIRST, "--yes"), prepare=one_snapshot
    ),
    "snapshot-delete-dry-run": Case(
        argv=("snapshot", "delete", "chat", FIRST, "--dry-run"), prepare=one_snapshot
    ),
    "recover": Case(argv=("recover", "chat"), prepare=killed_between_stop_and_start),
    "recover-dry-run": Case(
        argv=("recover", "chat", "--dry-run"), prepare=killed_between_stop_and_start
    ),
    "recover-discard": Case(
        argv=("recover", "chat", "--discard", "--yes"), prepare=killed_between_stop_and_start
    ),
    "recover-unjournaled": Case(argv=("recover", "--all", "--yes"), prepare=stopped_by_somebody),
    "doctor": Case(argv=("doctor",), prepare=chat),
    "doctor-failing": Case(argv=("doctor",), prepare=unreachable, code=50),
    "usage": Case(argv=("snapshot", "create"), prepare=chat, code=2),
    "usage-no-command": Case(argv=(), prepare=chat, code=2),
    "network": Case(argv=("snapshot", "list", "chat"), prepare=unreachable, code=50),
}
