"""kill -9 in the middle of backups and prunes: nothing committed is lost, the next run goes on."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dfx_backup.repository.check import check
from dfx_backup.repository.local import LocalStore
from dfx_backup.repository.subset import EVERYTHING
from tests.fakes.repositories import Restic, contents, new_repository, reopened
from tests.fakes.repository_child import files

OPERATIONS = {"create": 27, "prune": 77}


def start(root: Path, work: str, seed: int, kill_at: int = 0) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-m", "tests.fakes.repository_child"]
    return subprocess.Popen(
        [*argv, str(root), work, str(seed), str(kill_at)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> str:
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode in (0, -signal.SIGKILL), stderr
    return stdout


class Story:
    """A repository, the backups that were told to be committed, and who judges them."""

    def __init__(self, tmp_path: Path) -> None:
        self.root = tmp_path / "repository"
        self.judge = Restic(self.root, tmp_path / "home")
        new_repository(LocalStore(self.root))
        self.seed = 0
        self.killed = 0

    def run(self, work: str) -> str:
        said = finish(start(self.root, work, self.seed))
        assert ("committed" if work == "create" else "pruned") in said
        return said

    def strike(self, work: str, chance: random.Random) -> None:
        """Kill a run at a random operation, or at a random moment."""
        if chance.random() < 0.7:
            process = start(self.root, work, self.seed, chance.randint(1, OPERATIONS[work]))
        else:
            process = start(self.root, work, self.seed)
            process.stdout.readable()
            time.sleep(chance.uniform(0.15, 0.6))
            process.kill()
        finish(process)
        self.killed += process.returncode != 0

    def locks(self) -> list[Path]:
        folder = self.root / "locks"
        return [path for path in folder.iterdir() if path.name[0] != "."] if folder.exists() else []

    def judged(self) -> None:
        self.judge.run("unlock")
        assert self.locks() == []
        self.judge.check("--read-data")

    def proved(self) -> None:
        """All backups there are, whole."""
        repository = reopened(LocalStore(self.root))
        assert check(repository, read_data=EVERYTHING).error() is None
        for snapshot in repository.snapshots():
            (tag,) = snapshot.tags
            expected = files(int(tag.removeprefix("seed-")))
            assert contents(repository, snapshot.snapshot_id) == expected


def strikes(story: Story, count: int, chance: random.Random, *, judge_each: int = 1) -> None:
    for number in range(count):
        story.seed += 1
        story.run("create")
        committed = {each.snapshot_id for each in reopened(LocalStore(story.root)).snapshots()}
        story.seed += 1
        work = chance.choice(["create", "prune"])
        story.strike(work, chance)
        left = len(story.locks())
        if chance.random() < 0.5:
            story.seed += 1
            said = story.run("create")
            assert said.count("A lock that was left behind was removed") == left
        if number % judge_each == 0:
            story.judged()
        story.proved()
        if work == "create":
            now = {each.snapshot_id for each in reopened(LocalStore(story.root)).snapshots()}
            assert committed <= now


@pytest.mark.judge
@pytest.mark.timeout(300)
def test_a_few_kills(tmp_path: Path) -> None:
    story = Story(tmp_path)
    strikes(story, 4, random.Random(11), judge_each=2)
    assert story.killed >= 2
    story.run("prune")
    story.judged()


@pytest.mark.slow
@pytest.mark.judge
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(4))
def test_a_hundred_kills(tmp_path: Path, part: int) -> None:
    story = Story(tmp_path)
    strikes(story, 25, random.Random(part))
    assert story.killed >= 12
    story.run("prune")
    story.judged()
