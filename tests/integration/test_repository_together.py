"""Two writers and a pruner at once, and restic among them: locks are respected, nothing is lost."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dfx_backup.errors import LockedError
from dfx_backup.repository.check import check
from dfx_backup.repository.forget import forget
from dfx_backup.repository.local import LocalStore
from dfx_backup.repository.locks import read_locks
from dfx_backup.repository.prune import prune
from dfx_backup.repository.subset import EVERYTHING
from tests.fakes.repositories import (
    Restic,
    back_up,
    contents,
    new_repository,
    noise,
    reopened,
    this_machine,
)
from tests.fakes.repository_child import files

FILES = {"memory.bin": noise(1, 8)}


def start(root: Path, work: str, seed: int, count: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.fakes.repository_child",
            str(root),
            work,
            f"{seed}",
            f"{count}",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class ResticAtWork(threading.Thread):
    """restic runs again and again until it is told to stop; being locked out is no failure."""

    def __init__(self, judge: Restic, commands: list[list[str]]) -> None:
        super().__init__()
        self._judge = judge
        self._commands = commands
        self.stop = threading.Event()
        self.done = 0
        self.locked_out = 0
        self.failures: list[str] = []

    def run(self) -> None:
        while not self.stop.is_set() or not self.done:
            for command in self._commands:
                process = self._judge.start(*command)
                said = "".join(process.communicate(timeout=100))
                if process.returncode == 0:
                    self.done += 1
                elif "already locked" in said:
                    self.locked_out += 1
                    time.sleep(0.05)
                else:
                    self.failures.append(said)


def all_together(tmp_path: Path, commands: list[list[str]], count: int) -> None:
    root = tmp_path / "repository"
    judge = Restic(root, tmp_path / "home")
    new_repository(LocalStore(root))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_bytes(noise(9, 30))
    restic = ResticAtWork(judge, [[*each] for each in commands])
    restic.start()
    try:
        children = [
            start(root, "writes", 100, count),
            start(root, "writes", 200, count),
            start(root, "prunes", 0, count),
        ]
        said = [child.communicate(timeout=200) for child in children]
    finally:
        restic.stop.set()
        restic.join()
    for child, (_, stderr) in zip(children, said, strict=True):
        assert child.returncode == 0, stderr
    assert restic.failures == []
    assert restic.done > 0
    judge.check("--read-data")
    repository = reopened(LocalStore(root))
    assert check(repository, read_data=EVERYTHING).error() is None
    there = {each.snapshot_id: each.tags for each in repository.snapshots()}
    for stdout, _ in said[:2]:
        for line in stdout.splitlines():
            _, snapshot_id, number = line.split()
            if int(number) % 2 == 0:
                assert contents(repository, snapshot_id) == files(int(number))
                del there[snapshot_id]
    odd = {tags for tags in there.values() if tags}
    assert all(tag[-1] in "13579" for (tag,) in odd)


@pytest.mark.judge
@pytest.mark.timeout(300)
def test_writers_a_pruner_and_restic_that_backs_up(tmp_path: Path) -> None:
    backup = ["backup", str(tmp_path / "folder"), "--host", "restic"]
    all_together(tmp_path, [backup], 4)


@pytest.mark.slow
@pytest.mark.judge
@pytest.mark.timeout(600)
def test_for_a_long_time_restic_prunes_too(tmp_path: Path) -> None:
    backup = ["backup", str(tmp_path / "folder"), "--host", "restic"]
    forget_old = ["forget", "--host", "restic", "--keep-last", "1", "--prune", "--max-unused", "0"]
    all_together(tmp_path, [backup, backup, forget_old], 15)


@pytest.mark.judge
def test_restic_and_we_lock_each_other_out(tmp_path: Path) -> None:
    root = tmp_path / "repository"
    judge = Restic(root, tmp_path / "home")
    repository = new_repository(LocalStore(root))
    commit = back_up(repository, FILES)
    with repository.lock(exclusive=False):
        assert "locked" in judge.run("prune", code=1)
        judge.run("snapshots")
    with repository.lock(exclusive=True):
        assert "locked" in judge.run("check", code=1)
        assert "locked" in judge.run("backup", str(tmp_path / "home"), code=1)
    # restic's own locks, kept by a process that waits for its input.
    process = judge.start("backup", "--stdin")
    try:
        deadline = time.monotonic() + 30
        while not list(read_locks(repository)):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with pytest.raises(LockedError, match=str(process.pid)):
            prune(repository)
        with pytest.raises(LockedError):
            forget(repository, [commit.snapshot_id])
        back_up(repository, FILES)
    finally:
        process.kill()
        process.communicate()
    prune(repository)  # restic is dead, so its lock is removed
    assert list(read_locks(repository)) == []
    judge.check()


@pytest.mark.judge
def test_both_go_on_with_what_the_other_left(tmp_path: Path) -> None:
    """Forget and prune in turns; each backs up, reads and prunes after the other."""
    root = tmp_path / "repository"
    judge = Restic(root, tmp_path / "home")
    repository = new_repository(LocalStore(root))
    folder = tmp_path / "folder"
    folder.mkdir()
    kept = []
    for number in range(2):
        ours = {"memory.bin": noise(number, 6) + noise(50, 6)}
        old = back_up(repository, {"memory.bin": noise(number + 10, 6) + noise(50, 6)})
        (folder / "file").write_bytes(noise(number + 20, 20))
        judge.run("backup", str(folder), "--tag", "theirs")
        kept.append((back_up(repository, ours).snapshot_id, ours))
        judge.run("forget", old.snapshot_id, "--prune", "--max-unused", "0")
        judge.check("--read-data")
        theirs = [each.snapshot_id for each in repository.snapshots() if "theirs" in each.tags]
        if number:
            forget(repository, theirs[:-1])
            prune(repository, max_unused=0, keep_younger_s=-60)
        judge.check("--read-data")
        assert check(repository, read_data=EVERYTHING).findings == ()
        for snapshot_id, expected in kept:
            assert contents(reopened(LocalStore(root)), snapshot_id) == expected
    judge.run("restore", "latest", "--tag", "theirs", "--target", str(tmp_path / "back"))
    back = tmp_path / "back" / str(folder / "file").lstrip("/")
    assert back.read_bytes() == (folder / "file").read_bytes()


def test_a_second_pruner_waits(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "repository")
    repository = new_repository(store, this_machine(sleep=time.sleep))
    back_up(repository, FILES)
    with repository.lock(exclusive=True), pytest.raises(LockedError):
        prune(reopened(store))
    prune(reopened(store), wait_s=5)
