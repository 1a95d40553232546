"""`create` with faults at every write, and within its bounds of memory."""

import os
import threading
import time
from pathlib import Path

import pytest

from dfx_backup.operations.repository_access import Access
from dfx_backup.repository.check import check
from dfx_backup.repository.subset import EVERYTHING
from tests.fakes.backup_project import READ, BackupProject, scattered
from tests.fakes.faulty_store import Fault, FaultyStore

WINDOW = 50
SMALL = 12


class Faults:
    """Wraps the store of every run that follows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fault: tuple[Fault, int] | None = None
        self.store: FaultyStore | None = None
        original = Access.store

        def store(access: Access) -> FaultyStore:
            found = FaultyStore(original(access))
            if self.fault is not None:
                kind, first = self.fault
                found.add("write", kind, first=first, times=1000)
            self.store = found
            return found

        monkeypatch.setattr(Access, "store", store)

    @property
    def writes(self) -> int:
        assert self.store is not None
        return self.store.writes


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Fault.ERROR, Fault.FULL, Fault.LOST])
def test_a_store_that_fails_from_any_write_on(
    project: BackupProject, monkeypatch: pytest.MonkeyPatch, kind: Fault
) -> None:
    faults = Faults(monkeypatch)
    project.fill("note", scattered(100, SMALL))
    project.create("note")
    writes = faults.writes
    assert writes > 6
    for number in range(1, writes + 1):
        project.fill("note", scattered(number, SMALL))
        expected = project.stable()
        before = len(project.repository.snapshots())
        stops = project.calls("stop_canister")
        faults.fault = (kind, number)
        code, told = project.run("create", "note", env=project.env)
        faults.fault = None
        assert code in (0, 11, 30), told
        assert project.is_running()
        committed = len(project.repository.snapshots()) > before
        assert committed or code != 0
        if not committed:
            (backup,) = project.create("note")["backups"]
            assert project.calls("stop_canister") <= stops + 1
            assert project.files(backup["restic_id"])["stable_memory.bin"] == expected
        assert project.state_files("journal") == []
    assert check(project.repository, read_data=EVERYTHING).error() is None


@pytest.mark.slow
def test_memory_is_bounded_by_the_window(project: BackupProject) -> None:
    """At most 80 MB, 4.5 MB for each slice in flight, and 150 bytes a page."""
    pages = 6000
    project.fill("note", scattered(1, pages, every=2), pages=pages)
    project.server.faults.set(latency_by_method_s={READ: 0.5})
    process = project.process("create", "note")
    peak = 0

    def look() -> None:
        nonlocal peak
        while process.poll() is None:
            peak = max(peak, resident(process.pid))
            time.sleep(0.02)

    watcher = threading.Thread(target=look)
    watcher.start()
    told, _ = process.communicate(timeout=100)
    watcher.join()
    assert process.returncode == 0, told
    assert '"window": 50' in told
    assert 50e6 < peak < 80e6 + 4.5e6 * WINDOW + 150 * pages


def resident(pid: int) -> int:
    """Bytes of memory that a process has, once it is the program that was started."""
    try:
        if b"dfx_backup" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            return 0
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
