"""`dfx backup …`: started by dfx as its extension, which then drives that dfx.

In front stands the stand-in or, where it is built, dfx-core's own code; behind it the stand-in.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.model import RunState
from dfx_backup.replica.server import ReplicaServer
from tests.contract.replica_bench import ReplicaBench, pem
from tests.fakes.dfx.install import FakeDfx
from tests.fakes.dfx.judge import judge
from tests.fakes.memory_driver import MemoryDriver
from tests.fakes.memory_management import MemorySubnet

NOBODY = MemoryDriver(MemorySubnet())
EXTENSION = f"#!{sys.executable}\nfrom dfx_backup.__main__ import run\nrun()\n"


class Project:
    """A dfx project with the canister `chat` on the local network; `src` is a folder in it."""

    def __init__(self, server: ReplicaServer, folder: Path, front: Path | None) -> None:
        self.server = server
        self.dfx = FakeDfx.install(folder)
        self.front = front or self.dfx.bin_dir / "dfx"
        self.dfx.add_identity("mallory", pem("mallory"))
        self.dfx.add_identity("alice", pem("alice"))
        self.dfx.add_extension("backup", EXTENSION)
        self.dfx.point_local_at(server.url)
        self.chat = ReplicaBench(server, driver=NOBODY, stranger=NOBODY, down=NOBODY)
        self.root = folder / "project"
        self.below = self.root / "src"
        self.below.mkdir(parents=True)
        ids = self.root / ".dfx" / "local"
        ids.mkdir(parents=True)
        chat = {"type": "custom", "wasm": "chat.wasm", "candid": "chat.did"}
        (self.root / "dfx.json").write_text(json.dumps({"canisters": {"chat": chat}}))
        (ids / "canister_ids.json").write_text(json.dumps({"chat": {"local": self.chat.canister}}))

    def run(
        self, *argv: str, cwd: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `dfx` with these arguments, in the project's root unless told otherwise."""
        return subprocess.run(
            [str(self.front), *argv],
            env=self.dfx.environment | environment,
            cwd=cwd or self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def told(self, *argv: str, cwd: Path | None = None, **environment: str) -> dict[str, Any]:
        """The envelope of `dfx backup` with these arguments, and the exit code that dfx adds."""
        done = self.run(*argv, "--json", cwd=cwd, **environment)
        envelope: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == (255 if envelope["exit_code"] else 0)
        return envelope


def begin(front: object, folder: Path) -> Iterator[Project]:
    with ReplicaServer.start() as server:
        made = Project(server, folder, judge() if front == "dfx-core" else None)
        yield made
        made.chat.close()
        made.dfx.check()


JUDGE = (pytest.mark.judge, pytest.mark.slow)


@pytest.fixture(params=["stand-in", pytest.param("dfx-core", marks=JUDGE)])
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Project]:
    """One that a test may change."""
    yield from begin(request.param, tmp_path)


@pytest.fixture(scope="module", params=["stand-in", pytest.param("dfx-core", marks=JUDGE[0])])
def standing(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Project]:
    """One for the tests that change nothing."""
    yield from begin(request.param, tmp_path_factory.mktemp("standing"))


def test_lost_data_comes_back(project: Project) -> None:
    created = project.run("backup", "snapshot", "create", "chat", "--json")
    assert created.returncode == 0, created.stderr
    told = json.loads(created.stdout)
    assert told["data"]["driver"] == "dfx 0.32.0"
    assert told["data"]["consistency"] == "consistent"
    (snapshot,) = project.chat.snapshots()
    assert told["data"]["snapshot_id"] == snapshot
    assert project.chat.state() is RunState.RUNNING
    project.chat.write(b"")
    loaded = project.run("backup", "snapshot", "load", "chat", snapshot, "--yes")
    assert loaded.returncode == 0, loaded.stderr
    assert project.chat.read() == b"first"
    assert project.chat.state() is RunState.RUNNING


def test_a_passphrase_from_a_file_reaches_dfx(project: Project, tmp_path: Path) -> None:
    project.dfx.add_encrypted_identity("sealed", pem("alice"), password="correct horse")
    password = tmp_path / "password"
    password.write_text("correct horse\n")
    password.chmod(0o600)
    words = ("backup", "snapshot", "create", "chat", "--identity", "sealed")
    created = project.run(*words, "--identity-password-file", str(password))
    assert created.returncode == 0, created.stderr
    assert len(project.chat.snapshots()) == 1
    assert "correct horse" not in created.stdout + created.stderr


def test_after_ctrl_c_dfx_is_gone_and_the_canister_is_started_all_the_same(
    project: Project,
) -> None:
    """The terminal's signal ends dfx at once; the extension goes on, and its own dfx with it."""
    project.server.faults.set(latency_by_method_s={"take_canister_snapshot": 1.5})
    running = subprocess.Popen(
        [str(project.front), "backup", "snapshot", "create", "chat", "--json"],
        env=project.dfx.environment,
        cwd=project.root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    )
    wait_for_call(project, "take_canister_snapshot")
    os.killpg(running.pid, signal.SIGINT)
    assert running.wait(timeout=30) == -signal.SIGINT
    assert running.stdout is not None
    told = json.loads(running.stdout.read())  # until the extension ends, too
    running.stdout.close()
    assert told["exit_code"] == 130
    assert project.chat.state() is RunState.RUNNING
    assert project.server.faults.counters().executed["take_canister_snapshot"] == 1


@pytest.mark.parametrize(
    ("line", "works"),
    [
        ("backup snapshot list chat", True),
        ("backup snapshot list chat --identity mallory", False),
        ("--identity mallory backup snapshot list chat", False),
        ("backup --identity mallory snapshot list chat", False),
        ("--identity alice backup --identity mallory snapshot list chat", False),
        ("--identity mallory backup --identity alice snapshot list chat", True),
        ("--identity mallory backup snapshot list chat --identity alice", True),
        ("extension run backup --identity mallory snapshot list chat", False),
        ("-v --identity mallory extension run backup snapshot list chat", False),
    ],
)
def test_an_identity_counts_wherever_it_stands(
    standing: Project, line: str, *, works: bool
) -> None:
    told = standing.told(*line.split(), "--driver", "agent")
    assert told["exit_code"] == (0 if works else 50), told
    if not works:
        assert "controller" in json.dumps(told["errors"])


def test_paths_are_relative_to_where_the_user_stands(project: Project) -> None:
    project.chat.fill(1)
    (snapshot,) = project.chat.snapshots()
    words = ("backup", "snapshot", "download", "chat", snapshot, "--dir", "out")
    told = project.told(*words, cwd=project.below)
    assert told["exit_code"] == 0, told
    assert (project.below / "out" / "wasm_memory.bin").exists()
    assert not (project.root / "out").exists()
    checked = project.told("backup", "snapshot", "verify", "--dir", "src/out")
    assert checked["exit_code"] == 0, checked


def test_a_backup_with_repeated_options_and_values_with_a_hyphen(
    project: Project, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text("correct horse\n")
    password.chmod(0o600)
    secret = {"DFX_BACKUP_PASSWORD_FILE": str(password)}
    made = project.told("backup", "init", "--repo", "../../kept", cwd=project.below, **secret)
    assert made["exit_code"] == 0, made
    assert (tmp_path / "kept" / "config").exists()
    words = ("backup", "create", "--tag", "-first", "--tag=second", "chat", "--repo", "../kept")
    created = project.told(*words, **secret)
    assert created["exit_code"] == 0, created
    listed = project.told("backup", "list", "--repo", "../kept", **secret)
    assert sorted(listed["data"]["backups"][0]["tags"]) == ["-first", "second"]
    assert project.chat.state() is RunState.RUNNING


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("snapshot list nobody", 30),
        ("snapshot list chat --network nowhere", 30),
        ("list", 10),
        ("snapshot create", 2),
        ("snapshot list chat --bogus", 2),
        ("snapshot create chat --dry-run --driver agent", 0),
    ],
)
def test_the_exit_code_that_dfx_hides_stands_in_the_envelope(
    standing: Project, line: str, code: int
) -> None:
    done = standing.run("backup", *line.split(), "--json")
    assert json.loads(done.stdout)["exit_code"] == code
    assert done.returncode == (255 if code else 0)
    said = f"Error: Extension exited with non-zero status code '{code}'.\n"
    assert done.stderr.endswith(said if code else "")


def wait_for_call(project: Project, method: str) -> None:
    deadline = time.monotonic() + 60
    while not project.server.faults.counters().calls.get(method):
        assert time.monotonic() < deadline
        time.sleep(0.05)
