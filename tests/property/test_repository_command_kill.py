"""kill -9 in the middle of `import` and `forget --prune`, as whole command lines.

Nothing committed is lost, restic finds nothing wrong after `unlock`, and the next run completes
without help.
"""

import json
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.command_child import Commands
from tests.fakes.repositories import Restic, age_objects, noise, pages
from tests.fakes.snapshot_folder import contents, write_folder

KEPT = 3
IMPORT = ("import", "{}")
PRUNE = ("forget", "--keep-last", f"{KEPT}", "--prune", "--max-unused", "0%", "--yes")
OPERATIONS = {IMPORT: 26, PRUNE: 110}
"""About as many as the command has of the store."""
LEFT = "A lock that was left behind was removed"


def memory(seed: int) -> bytes:
    """Most pages are those of the memories with near numbers."""
    return b"".join(noise(max(seed - place % 5, 0) * 100 + place, 1) for place in range(8)) + pages(
        0, 0, seed
    )


class Story:
    """A repository, what was committed to it, and who judges it."""

    def __init__(self, folder: Path, commands: Commands) -> None:
        self.folder = folder
        self.commands = commands
        self.judge = Restic(folder / "repo", folder / "judge")
        self.seed = 0
        self.killed = 0
        self.committed: dict[str, int] = {}

    @property
    def repo(self) -> Path:
        return self.folder / "repo"

    def run(self, *argv: str, code: int | None = 0, **task: object) -> Any:
        """The answer of one command line; `data` of its envelope when it ended well."""
        told = self.commands.run(*argv, **task)
        if code is None:
            return told
        assert told["code"] == code, told
        return json.loads(told["stdout"])["data"]

    def bring(self, **task: object) -> Any:
        """Import the folder with the next number."""
        self.seed += 1
        name = f"copy-{self.seed}"
        write_folder(self.folder / name, heap=memory(self.seed), taken_at=1_700_000_000 + self.seed)
        told = self.run("import", name, **task)
        if not task:
            self.committed[told["backup_id"]] = self.seed
        return told

    def strike(self, chance: random.Random) -> None:
        """Kill a run before a random operation of the store, or at a random moment; go on."""
        work = chance.choice([IMPORT, PRUNE])
        if chance.random() < 0.7:
            task: dict[str, Any] = {"kill_at": chance.randint(1, OPERATIONS[work])}
        else:
            task = {"after_s": chance.uniform(0.01, 0.25)}
        before = sorted(self.committed, key=lambda each: self.committed[each])
        if work is IMPORT:
            told = self.bring(code=None, **task)
        else:
            age_objects(self.repo / "data", 7 * 86400)
            told = self.run(*PRUNE, code=None, **task)
        assert told["code"] in (0, -signal.SIGKILL), told
        self.killed += told["code"] != 0
        struck = self.seed
        at_once = chance.random() < 0.5
        if at_once:
            self.judged()
        left = self.locks()
        next_ = self.bring()  # completes without help
        assert sum(LEFT in each for each in next_["warnings"]) == left
        if not at_once:
            self.judged()
        listed = {each["backup_id"] for each in self.run("list")["backups"]}
        assert set(before if work is IMPORT else before[-KEPT:]) <= listed
        for backup_id in listed - self.committed.keys():  # killed before it could be told
            self.committed[backup_id] = struck
        self.committed = {id_: n for id_, n in self.committed.items() if id_ in listed}

    def locks(self) -> int:
        folder = self.repo / "locks"
        return len([path for path in folder.iterdir() if path.name[0] != "."])

    def judged(self) -> None:
        self.judge.run("unlock")
        assert self.locks() == 0
        self.judge.check("--read-data")

    def proved(self, backup_id: str) -> None:
        """One backup comes back as it was."""
        target = self.folder / f"out-{backup_id}-{self.seed}"
        self.run("export", backup_id, str(target))
        found = contents(target)
        assert found["wasm_memory.bin"] == memory(self.committed[backup_id])


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    commands = Commands(tmp_path)
    try:
        yield Story(tmp_path, commands)
    finally:
        commands.close()


def strikes(story: Story, count: int, chance: random.Random) -> None:
    story.run("init")
    story.bring()
    for _ in range(count):
        story.bring()
        story.strike(chance)
        story.proved(chance.choice(sorted(story.committed)))
        assert story.locks() == 0
    age_objects(story.repo / "data", 7 * 86400)
    story.run(*PRUNE)
    story.judged()
    assert story.run("verify")["findings"] == []


@pytest.mark.judge
@pytest.mark.timeout(120)
def test_a_few_kills_of_commands(story: Story) -> None:
    strikes(story, 2, random.Random(3))
    assert story.killed


@pytest.mark.slow
@pytest.mark.judge
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(2))
def test_a_hundred_kills_of_commands(story: Story, part: int) -> None:
    strikes(story, 50, random.Random(part))
    assert story.killed >= 25
