"""Command lines of `stable`, for the recorded envelopes."""

import random

from tests.fakes.memory_endpoints import Call, MemoryEndpoints, reject
from tests.fakes.old_canister import OldCanister
from tests.fakes.snapshot_folder import write_folder
from tests.fakes.stage import Stage

MEMORY = random.Random(6).randbytes(2_500_000)
EXPORT = ("stable", "export", "chat", "--stream", "memory", "--file", "copy", "--concurrency", "1")
STORE = ("stable", "export", "chat", "--stream", "memory", "--tag", "x", "--concurrency", "1")
RESTORE = ("stable", "import", "chat", "--backup", "latest", "--concurrency", "1")
IMPORT = ("stable", "import", "chat", "--file", "copy", "--concurrency", "1")
BY_SNAPSHOT = ("--via", "snapshot", "--file", "copy", "--concurrency", "1")
SNAPSHOT = "000000000000000000000000000000000101"
TAKE = ("stable", "export", "chat", *BY_SNAPSHOT)
PUT = ("stable", "import", "chat", *BY_SNAPSHOT)


def endpoints(stage: Stage) -> MemoryEndpoints:
    """A canister with the kit, of two streams."""
    made = MemoryEndpoints(memory=MEMORY, motto=b"")
    made.apps["motto"] = lambda: b"carpe diem"
    made.canister = stage.add("chat")
    stage.endpoints = made
    return made


def old_endpoints(stage: Stage) -> OldCanister:
    """A canister with the methods of others."""
    made = OldCanister(MEMORY)
    made.canister = stage.add("chat")
    stage.endpoints = made  # type: ignore[assignment] # it is called in the same way
    return made


def offered(stage: Stage) -> None:
    endpoints(stage)


def exported(stage: Stage) -> None:
    """An export, and a page that has changed since."""
    made = endpoints(stage)
    assert stage.run(*EXPORT) == 0
    made.touch("memory", 1_000_000, b"changed")


def damaged(stage: Stage) -> None:
    exported(stage)
    with (stage.folder / "copy.stable.bin").open("r+b") as file:
        file.write(b"damage")


def importing(stage: Stage) -> None:
    """An import that was interrupted."""
    exported(stage)
    made = stage.endpoints
    assert made is not None

    def before(call: Call) -> None:
        if call.method == "backup_import_write":
            raise reject(5, "IC0503", "Canister trapped explicitly: no")

    made.before = before
    assert stage.run(*IMPORT, "--yes") == 50
    made.before = lambda _call: None


def moving(stage: Stage) -> None:
    made = endpoints(stage)
    made.after = lambda call: made.touch("memory", 0, call.number.to_bytes(8))


def without_methods(stage: Stage) -> None:
    made = endpoints(stage)

    def before(call: Call) -> None:
        text = f"Canister {made.canister} has no update method '{call.method}'"
        raise reject(5, "IC0536", text)

    made.before = before


def with_snapshot(stage: Stage) -> None:
    """A canister with a snapshot that has a stable memory."""
    stage.add("chat")
    write_folder(stage.folder / "folder", stable={0: b"0", 5: b"5"})
    assert stage.run("snapshot", "upload", "chat", "--dir", "folder", "--concurrency", "1") == 0


def read_from_snapshot(stage: Stage) -> None:
    """An export of that."""
    with_snapshot(stage)
    argv = ("stable", "export", "chat", "--file", "copy", "--concurrency", "1")
    assert stage.run(*argv, "--snapshot", SNAPSHOT) == 0
