"""A process that works on a repository, and may kill itself in the middle of any store operation.

python -m tests.fakes.repository_child ROOT create|prune SEED [KILL_AT]
python -m tests.fakes.repository_child ROOT writes|prunes SEED COUNT
"""

import os
import signal
import sys
import time
from pathlib import Path

from dfx_backup.repository.forget import forget
from dfx_backup.repository.local import LocalStore
from dfx_backup.repository.prune import prune
from dfx_backup.repository.repository import Repository
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.repositories import PAGE, back_up, noise, pages, reopened, this_machine

KEPT = 3


class Voice:
    """Prints what the user would be warned of."""

    def step(self, _text: str) -> None:
        return

    def warn(self, text: str) -> None:
        print("warning:", text, flush=True)


def files(seed: int) -> dict[str, bytes]:
    """The files of the backup with that number: most pages are those of the one before."""
    memory = b"".join(noise(max(seed - place % 5, 0) * 100 + place, 1) for place in range(10))
    return {"memory.bin": memory + pages(0, 0, seed), "chunks/a.bin": b"a" * seed}


def create(repository: Repository, seed: int) -> None:
    commit = back_up(repository, files(seed), time=1.7e9 + seed, tags=(f"seed-{seed}",))
    print("committed", commit.snapshot_id, flush=True)


def clean(repository: Repository, _seed: int) -> None:
    old = [each.snapshot_id for each in repository.snapshots()][:-KEPT]
    forget(repository, old, progress=Voice())
    prune(repository, progress=Voice(), max_unused=0, keep_younger_s=0)
    print("pruned", flush=True)


def writes(repository: Repository, seed: int, count: int) -> None:
    """Several backups, of which those with odd numbers may be forgotten."""
    for number in range(seed, seed + count):
        tags = (f"seed-{number}",)
        commit = back_up(repository, files(number), time=1.7e9 + number, tags=tags, wait_s=60)
        print("committed", commit.snapshot_id, number, flush=True)
        time.sleep(0.05)


def prunes(repository: Repository, count: int) -> None:
    """Several prunes, with locks as the only thing that protects what others are writing."""
    removed = 0
    for _ in range(count):
        with repository.lock(exclusive=True, wait_s=60) as lock:
            there = [(each.snapshot_id, each.tags) for each in repository.snapshots()]
            odd = [each for each, tags in there if tags and tags[0][-1] in "13579"]
            forget(repository, odd, lock=lock)
        report = prune(repository, max_unused=0, keep_younger_s=-60, wait_s=60)
        removed += report.packs_removed
        time.sleep(0.1)
    print("pruned", removed, flush=True)


def main(root: str, work: str, seed: str, kill_at: str = "0") -> None:
    store = FaultyStore(LocalStore(Path(root)))
    if work in ("writes", "prunes"):
        # Others are at work too: the pause before a second look at the locks is needed.
        repository = reopened(store, this_machine(sleep=time.sleep))
        if work == "writes":
            writes(repository, int(seed), int(kill_at))
        else:
            prunes(repository, int(kill_at))
        return
    repository = reopened(store)
    left = int(kill_at)

    def count(operation: str, name: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            if operation == "put" and int(seed) % 4 < 2:
                path = Path(root) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                (path.parent / f".{path.name}.1.0.tmp").write_bytes(bytes(PAGE))
            os.kill(os.getpid(), signal.SIGKILL)

    store.before = count
    if work == "create":
        with repository.lock(exclusive=False, progress=Voice()):
            pass  # says what it removes
        create(repository, int(seed))
    else:
        clean(repository, int(seed))
    print("operations", sum(store.counts.values()), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
