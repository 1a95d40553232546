"""Small repositories for tests, and restic as their judge."""

import json
import os
import random
import shutil
import socket
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

from dfx_backup.repository import keys
from dfx_backup.repository.keys import Password
from dfx_backup.repository.layout import BlobKind
from dfx_backup.repository.machine import Machine
from dfx_backup.repository.repository import Repository
from dfx_backup.repository.store import ObjectStore
from dfx_backup.repository.writer import BackupMeta, Commit

PASSWORD = "correct horse"
PAGE = 65536


def this_machine(**changes: object) -> Machine:
    """The machine that runs the test; it does not wait for others to see its locks."""
    machine = Machine(
        hostname=socket.gethostname(),
        username="tester",
        pid=os.getpid(),
        sleep=lambda _seconds: None,
    )
    return replace(machine, **changes)


class FixedMachine:
    """What is random or changes with time, as a plain sequence: the same bytes in every run.

    Attributes:
        now: seconds since the epoch; each look at the clock moves it by a second.
    """

    def __init__(self, seed: int, now: float = 1_780_000_000.0) -> None:
        self._random = random.Random(seed)
        self.now = now

    def machine(self) -> Machine:
        return Machine(
            hostname="golden",
            username="golden",
            pid=1,
            clock=self._tick,
            monotonic=lambda: self.now,
            sleep=lambda _seconds: None,
            random=self._random.randbytes,
            alive=lambda _pid: False,
        )

    def _tick(self) -> float:
        self.now += 1
        return self.now


def new_repository(store: ObjectStore, machine: Machine | None = None) -> Repository:
    """A repository whose password costs next to nothing to try."""
    with mock.patch.object(keys, "SCRYPT_N", 1 << 10):
        return Repository.init(store, Password(PASSWORD), machine or this_machine())


def moved(repository: Repository, store: ObjectStore) -> Repository:
    """The same repository, opened in another store."""
    return Repository(
        store,
        repository.machine,
        repository.config,
        key_id=repository.keys.current,
        master=repository.keys._master,
    )


def reopened(store: ObjectStore, machine: Machine | None = None) -> Repository:
    return Repository.open(store, Password(PASSWORD), machine or this_machine())


def pages(*numbers: int) -> bytes:
    """Pages of 64 KiB that a number tells apart; 0 stands for a page of zeros."""
    return b"".join(
        bytes(PAGE) if number == 0 else random.Random(number).randbytes(512) * (PAGE // 512)
        for number in numbers
    )


def noise(seed: int, count: int) -> bytes:
    """Pages that can't be compressed."""
    return random.Random(seed).randbytes(count * PAGE)


def back_up(
    repository: Repository,
    files: Mapping[str, bytes],
    *,
    time: float = 1_780_000_000.0,
    canister: str = "aaaaa-aa",
    tags: tuple[str, ...] = (),
    wait_s: float = 0.0,
) -> Commit:
    """One backup with these files."""
    with repository.writer(wait_s=wait_s) as writer:
        for name, data in files.items():
            file = writer.file(name, len(data))
            for offset in range(0, len(data), 4 * PAGE):
                file.write(offset, data[offset : offset + 4 * PAGE])
            file.finish()
        meta = BackupMeta(hostname="local", paths=(f"/{canister}",), time=time, tags=tags)
        return writer.commit(meta)


def contents(repository: Repository, snapshot_id: str) -> dict[str, bytes]:
    """Every file of a backup by its path, read by us."""
    found: dict[str, bytes] = {}

    def walk(tree_id: bytes, path: str) -> None:
        for node in repository.tree(tree_id).nodes:
            if node.subtree is not None:
                walk(node.subtree, f"{path}{node.name}/")
            elif node.content is not None:
                blobs = [repository.load_blob(BlobKind.DATA, blob_id) for blob_id in node.content]
                found[path + node.name] = b"".join(blobs)

    walk(repository.snapshot(snapshot_id).tree, "")
    return found


def age_objects(root: Path, seconds: float) -> None:
    """Make all files of a local repository older."""
    for path in root.rglob("*"):
        if path.is_file():
            told = path.stat().st_mtime - seconds
            os.utime(path, (told, told))


class Restic:
    """The restic program at work on one repository.

    Args:
        location: path, or `s3:…`.
        home: a folder for its cache and password.
        env: more variables.
    """

    def __init__(self, location: Path | str, home: Path, **env: str) -> None:
        program = shutil.which("restic")
        if program is None:
            reason = "restic is not installed: nobody else judges the repositories"
            if os.environ.get("DFX_BACKUP_REQUIRE_JUDGES"):
                pytest.fail(reason)
            pytest.skip(reason)
        self._program = program
        home.mkdir(parents=True, exist_ok=True)
        password = home / "password"
        password.write_text(PASSWORD)
        self._env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "RESTIC_REPOSITORY": str(location),
            "RESTIC_PASSWORD_FILE": str(password),
            **env,
        }

    def start(self, *argv: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self._program, "--no-cache", *argv],
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *argv: str, code: int = 0) -> str:
        process = self.start(*argv)
        stdout, stderr = process.communicate(timeout=100)
        assert process.returncode == code, f"restic {argv}: {process.returncode}\n{stdout}{stderr}"
        return stdout + stderr

    def json(self, *argv: str) -> object:
        process = self.start(*argv, "--json")
        stdout, stderr = process.communicate(timeout=100)
        assert process.returncode == 0, f"restic {argv}: {stderr}"
        return json.loads(stdout)

    def check(self, *argv: str) -> str:
        """It finds no error, and nothing to complain about but packs that are not needed."""
        said = self.run("check", *argv)
        assert "no errors were found" in said
        return said


def wait_for(condition: Callable[[], bool], *, timeout_s: float = 30) -> None:
    """Poll until something is so."""
    import time  # noqa: PLC0415 - only this needs it

    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.005)
