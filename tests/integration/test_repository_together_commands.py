"""Two writers, a reader and a pruner at once, as whole command lines, and restic among them."""

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.command_child import Commands
from tests.fakes.repositories import Restic, noise
from tests.fakes.snapshot_folder import contents, write_folder

LOCKED = 11
SHARED = noise(0, 6)
BREATH_S = 0.2
"""Between two runs of those who only hold shared locks: else the pruner may never get its own."""


def memory(number: int) -> bytes:
    return SHARED + noise(number, 2)


class Desk:
    """Somebody who types one command line after the other; locked out, they try again."""

    def __init__(self, folder: Path, commands: Commands) -> None:
        self.folder = folder
        self.commands = commands
        self.locked_out = 0

    def run(self, *argv: str) -> dict[str, object]:
        end = time.monotonic() + 120
        while True:
            told = self.commands.run(*argv, patient=True)
            if told["code"] != LOCKED:
                break
            self.locked_out += 1
            assert time.monotonic() < end
            time.sleep(0.05)
        assert told["code"] == 0, told
        data: dict[str, object] = json.loads(told["stdout"])["data"]
        return data


class Together:
    """What the threads share: what was committed, and what went wrong."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.committed: dict[str, int] = {}
        self.failures: list[BaseException] = []
        self.over = threading.Event()
        self.done: dict[str, int] = {}

    def thread(self, name: str, work: Callable[[Desk], int]) -> threading.Thread:
        def run() -> None:
            try:
                with contextlib.closing(Commands(self.folder)) as commands:
                    self.done[name] = work(Desk(self.folder, commands))
            except BaseException as error:  # noqa: BLE001 - told at the end of the test
                self.failures.append(error)

        return threading.Thread(target=run, name=name)

    def write(self, first: int, count: int) -> Callable[[Desk], int]:
        def work(desk: Desk) -> int:
            for number in range(first, first + count):
                copy = write_folder(
                    self.folder / f"copy-{number}",
                    heap=memory(number),
                    taken_at=1_700_000_000 + number,
                )
                keep = "keep" if number % 2 else "drop"
                told = desk.run("import", str(copy), "--tag", keep)
                if number % 2:
                    self.committed[str(told["backup_id"])] = number
            return count

        return work

    def read(self, desk: Desk) -> int:
        rounds = 0
        while not self.over.is_set():
            for backup_id, number in list(self.committed.items())[-3:]:
                target = self.folder / f"out-{rounds}"
                desk.run("export", backup_id, str(target))
                assert contents(target)["wasm_memory.bin"] == memory(number)
                rounds += 1
            time.sleep(BREATH_S)
        return rounds

    def prune(self, desk: Desk) -> int:
        rounds, last = 0, False
        while not last:
            last = self.over.is_set()  # once more when nobody is in its way any longer
            for path in (self.folder / "repo" / "data").rglob("*"):
                with contextlib.suppress(FileNotFoundError):
                    if path.is_file():  # locks alone protect what is young
                        os.utime(path, (0, 0))
            rules = ("--keep-tag", "keep", "--prune", "--max-unused", "0%", "--yes")
            pruned = desk.run("forget", *rules)["prune"]
            assert isinstance(pruned, dict)
            rounds += pruned["packs_removed"] > 0
        return rounds


@pytest.mark.slow
@pytest.mark.judge
@pytest.mark.timeout(400)
def test_two_writers_a_reader_a_pruner_and_restic(tmp_path: Path) -> None:
    judge = Restic(tmp_path / "repo", tmp_path / "judge")
    with contextlib.closing(Commands(tmp_path)) as commands:
        work_together(tmp_path, Desk(tmp_path, commands), judge)


def work_together(tmp_path: Path, desk: Desk, judge: Restic) -> None:
    desk.run("init")
    together = Together(tmp_path)
    writers = [together.thread(f"writer {first}", together.write(first, 8)) for first in (100, 200)]
    others = [together.thread("reader", together.read), together.thread("pruner", together.prune)]
    threads = [*writers, *others]
    for each in threads:
        each.start()
    theirs = 0
    while any(each.is_alive() for each in writers):
        process = judge.start("backup", str(tmp_path / "judge"), "--host", "restic")
        said = "".join(process.communicate(timeout=100))
        assert process.returncode == 0 or "already locked" in said, said
        theirs += process.returncode == 0
        time.sleep(BREATH_S)
    together.over.set()
    for each in threads:
        each.join()

    assert together.failures == []
    assert theirs
    assert together.done["reader"]
    assert together.done["pruner"]
    assert not list((tmp_path / "repo").glob("locks/[!.]*"))
    judge.check("--read-data")
    desk.run("verify", "--read-data")
    for backup_id, number in together.committed.items():
        desk.run("export", backup_id, f"last-{number}")
        assert contents(tmp_path / f"last-{number}")["wasm_memory.bin"] == memory(number)
