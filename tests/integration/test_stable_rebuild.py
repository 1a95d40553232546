"""`stable import --heap-from-stable`: the recipe end to end, and what refuses or undoes it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.replica.candid import Codec
from dfx_backup.replica.faults import Delay, RejectFault
from dfx_backup.replica.server import ReplicaServer
from tests.fakes.heap_project import WASM, HeapProject, padded
from tests.fakes.kit_canister import EXAMPLES
from tests.fakes.kit_stage import CHAT

EXPORT = ("stable", "export", "note", "--via", "snapshot", "--file", "copy")
IMPORT = ("stable", "import", "note", "--via", "snapshot", "--file", "copy", "--yes")
REBUILD = (*IMPORT, "--heap-from-stable")


@pytest.fixture
def project(server: ReplicaServer, tmp_path: Path) -> Iterator[HeapProject]:
    made = HeapProject(server, tmp_path)
    for number, name in enumerate(("one", "two", "three"), 1):
        made.send("put", name, number)
    made.dump()
    yield made
    made.close()


def ok(project: HeapProject, *argv: str, **more: Any) -> Any:
    code, told = project.run(*argv, **more)
    assert code == 0, told
    assert project.canister.status == "running"
    return told["data"]


def fails(project: HeapProject, code: int, *argv: str) -> Any:
    found, told = project.run(*argv)
    assert found == code, told
    assert project.canister.status == "running"
    return told["errors"][0]


def changed(project: HeapProject) -> None:
    """The state goes on after the export."""
    ok(project, *EXPORT)
    project.send("put", "one", 100)
    project.send("put", "four", 4)


def is_back(project: HeapProject) -> bool:
    return (project.get("one"), project.get("three"), project.get("four")) == (1, 3, None)


def is_old(project: HeapProject) -> bool:
    return (project.get("one"), project.get("three"), project.get("four")) == (100, 3, 4)


def test_the_heap_comes_back_with_the_memory(project: HeapProject) -> None:
    changed(project)

    data = ok(project, *REBUILD)

    assert data["heap_rebuilt"]
    assert not any("timer comes back" in each for each in data["warnings"])
    assert is_back(project)
    assert project.send("put", "five", 5) == 4  # no import mode
    project.dump()
    assert project.get("five") == 5
    assert len(project.canister.snapshots) == 1


def test_without_it_the_heap_stays(project: HeapProject) -> None:
    changed(project)
    wanted = (project.folder / "copy.stable.bin").read_bytes()

    data = ok(project, *IMPORT)

    assert not data["heap_rebuilt"]
    assert is_old(project)
    assert project.stable_memory() == wanted


def test_a_module_of_the_user_even_a_large_one(project: HeapProject) -> None:
    changed(project)
    large = padded(WASM.read_bytes(), 2_500_000)
    (project.folder / "new.wasm").write_bytes(large)

    data = ok(project, *REBUILD, "--module", "new.wasm")

    assert is_back(project)
    assert project.canister.module is not None
    assert project.canister.module.raw == large
    assert not project.canister.chunks  # they went through the chunk store
    assert data["plan"]["module"].endswith("new.wasm")


def test_the_way_of_the_methods_needs_the_same_upgrade(project: HeapProject) -> None:
    """The recipe without an outage: export and import by the kit, and then the upgrade."""
    words = ("--stream", "stable_memory", "--file", "copy")
    ok(project, "stable", "export", "note", *words)
    project.send("put", "four", 4)

    data = ok(project, "stable", "import", "note", "--file", "copy", "--yes")

    assert data["import_mode"]
    raw = project.snapshots.raw
    sender = project.canister.controllers[1]
    options = {"sender": sender, "skip_pre_upgrade": True}
    project.server.replica.install(raw, WASM.read_bytes(), b"DIDL\0\0", "upgrade", **options)
    assert project.get("four") is None
    assert project.get("one") == 1


def test_a_trap_is_undone(project: HeapProject) -> None:
    ok(project, *EXPORT)
    copy = project.folder / "copy.stable.bin"
    before = project.stable_memory()
    broken = HeapProject.broken(copy.read_bytes())
    project.replant("copy", broken)
    project.send("put", "one", 100)
    project.send("put", "four", 4)

    told = fails(project, 50, *REBUILD)

    assert "was not rebuilt" in told["message"]
    assert "former state again" in told["hint"]
    assert is_old(project)
    assert project.stable_memory() == before
    again = fails(project, 50, *REBUILD)  # the same upload, and the same end
    assert "was not rebuilt" in again["message"]
    assert is_old(project)


@pytest.mark.parametrize("words", [(), ("--module", "chat.wasm")])
def test_motoko_is_refused_before_anything(project: HeapProject, words: tuple[str, ...]) -> None:
    changed(project)
    chat = (EXAMPLES / CHAT.module).read_bytes()
    (project.folder / "chat.wasm").write_bytes(chat)
    if not words:
        project.use(chat, Codec.from_did(CHAT.app))
    version = project.canister.version

    told = fails(project, 60, *REBUILD, *words)

    assert "Motoko" in told["message"]
    assert "--heap-from-stable" in told["hint"]
    assert project.canister.version == version
    assert not project.canister.snapshots


def test_a_file_that_is_no_module(project: HeapProject) -> None:
    changed(project)

    assert "is no Wasm module" in fails(project, 2, *REBUILD, "--module", "dfx.json")["message"]
    assert fails(project, 30, *REBUILD, "--module", "nothing.wasm")["hint"]


@pytest.mark.parametrize("late", [False, True])
def test_a_lost_answer_of_the_upgrade(project: HeapProject, late: bool) -> None:  # noqa: FBT001 # a parameter
    changed(project)
    if late:
        delay = {"install_code": Delay(seconds=0.3)}
        project.server.faults.set(delayed_execution=delay)
    else:
        project.server.faults.set(lost_reply={"install_code": 1})

    ok(project, *REBUILD)

    assert is_back(project)


def test_refused_while_it_is_busy_it_waits(project: HeapProject) -> None:
    changed(project)
    project.server.faults.set(reject={"install_code": RejectFault(error_code="IC0210", times=2)})

    ok(project, *REBUILD)

    assert is_back(project)


@pytest.mark.parametrize(
    "words", [("--heap-from-stable", "--skip-safety-snapshot"), ("--module", "x")]
)
def test_words_that_contradict_each_other(project: HeapProject, words: tuple[str, ...]) -> None:
    changed(project)

    fails(project, 2, *IMPORT, *words)
