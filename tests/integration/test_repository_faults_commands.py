"""A fault at each write of `import` and of `forget --prune`, as whole command lines."""

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfx_backup.operations.repository_access import Access
from dfx_backup.repository import keys
from dfx_backup.repository.local import LocalStore
from dfx_backup.repository.store import ObjectStore
from tests.fakes.desk import Desk
from tests.fakes.faulty_store import Fault, FaultyStore
from tests.fakes.repositories import age_objects, pages
from tests.fakes.snapshot_folder import contents, write_folder

MEMORIES = [pages(1, 2, 0, 3), pages(1, 4, 0, 3), pages(1, 5, 0, 6)]
PRUNE = ("forget", "--keep-last", "1", "--prune", "--max-unused", "0%", "--yes")
MOST_WRITES = 40


def faults(*quick: Fault) -> list[object]:
    """All kinds; the engine's own tests try them all the time, so here one is enough for that."""
    return [
        pytest.param(each, marks=() if each in quick else pytest.mark.slow, id=each.value)
        for each in (Fault.ERROR, Fault.SHORT, Fault.LOST, Fault.FULL)
    ]


class Broken:
    """A desk whose store fails where it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fault: tuple[Fault, int] | None = None
        self.hits = 0
        self._store: FaultyStore | None = None
        broken = self

        def store(access: Access) -> ObjectStore:
            assert access.location.folder is not None
            broken._store = FaultyStore(LocalStore(access.location.folder))
            if broken.fault is not None:
                kind, number = broken.fault
                broken._store.add("write", kind, first=number)
            return broken._store

        monkeypatch.setattr(Access, "store", store)

    def try_(self, desk: Desk, fault: Fault, number: int, *argv: str) -> int:
        """Exit code of a run whose write of that number fails; tells whether it came so far."""
        self.fault = (fault, number)
        code = desk.stage.run(*argv, "--json", env=desk.env)
        self.fault = None
        assert self._store is not None
        [switch] = self._store.switches
        self.hits = switch.hits
        return code


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Broken:
    monkeypatch.setattr(keys, "SCRYPT_N", 16)
    return Broken(monkeypatch)


@pytest.fixture
def desk(tmp_path: Path, broken: Broken) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    desk.run("init")
    for number, heap in enumerate(MEMORIES):
        write_folder(tmp_path / f"copy-{number}", heap=heap, taken_at=1_700_000_000 + number)
    desk.ids = [desk.run("import", f"copy-{number}")["backup_id"] for number in range(2)]
    age_objects(desk.repo, 7 * 86400)
    yield desk
    assert broken.fault is None


def is_whole(desk: Desk, backup_id: str, number: int) -> None:
    desk.run("export", backup_id, "out")
    assert contents(desk.folder / "out")["wasm_memory.bin"] == MEMORIES[number]
    shutil.rmtree(desk.folder / "out")


@pytest.mark.parametrize("fault", faults(Fault.FULL))
def test_an_import_that_fails_costs_nothing_and_the_next_completes(
    desk: Desk, broken: Broken, fault: Fault
) -> None:
    copy = desk.folder / "copy of the repository"
    shutil.copytree(desk.repo, copy)
    for number in itertools.count(1):
        code = broken.try_(desk, fault, number, "import", "copy-2")
        told = desk.stage.envelope
        if not broken.hits:
            break
        if code:
            assert code == 30
            assert told["errors"][0]["code"] == "project"
        if code and fault is Fault.FULL:
            assert "No space left" in told["errors"][0]["message"]
        there = {each["backup_id"] for each in desk.run("list")["backups"]}
        assert set(desk.ids) <= there
        if len(there) == 2:
            assert code  # what was not committed was not told to be
            desk.run("import", "copy-2")
        desk.run("verify")
        is_whole(desk, desk.ids[1], 1)
        newest = desk.run("list")["backups"][-1]["backup_id"]
        is_whole(desk, newest, 2)
        shutil.rmtree(desk.repo)
        shutil.copytree(copy, desk.repo)
    assert 6 <= number <= MOST_WRITES


@pytest.mark.parametrize("fault", faults())
def test_a_forget_and_prune_that_fails_costs_nothing_and_the_next_completes(
    desk: Desk, broken: Broken, fault: Fault
) -> None:
    copy = desk.folder / "copy of the repository"
    shutil.copytree(desk.repo, copy)
    age_objects(copy, 7 * 86400)
    for number in itertools.count(1):
        code = broken.try_(desk, fault, number, *PRUNE)
        if not broken.hits:
            break
        assert code in (0, 30)
        is_whole(desk, desk.ids[1], 1)
        desk.run(*PRUNE)
        assert not list(desk.repo.glob("locks/[!.]*"))
        desk.run("verify")
        assert [each["backup_id"] for each in desk.run("list")["backups"]] == [desk.ids[1]]
        shutil.rmtree(desk.repo)
        shutil.copytree(copy, desk.repo)
        age_objects(desk.repo, 7 * 86400)
    assert 8 <= number <= MOST_WRITES
