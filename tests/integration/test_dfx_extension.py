"""`dfx backup …`: started by the stand-in dfx as its extension, which then drives that dfx."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfx_backup.model import RunState
from dfx_backup.replica.server import ReplicaServer
from tests.contract.replica_bench import ReplicaBench, pem
from tests.fakes.dfx.install import FakeDfx
from tests.fakes.memory_driver import MemoryDriver
from tests.fakes.memory_management import MemorySubnet

NOBODY = MemoryDriver(MemorySubnet())
EXTENSION = f"#!{sys.executable}\nfrom dfx_backup.__main__ import run\nrun()\n"


class Project:
    """A dfx project with the canister `chat` on the local network."""

    def __init__(self, server: ReplicaServer, folder: Path) -> None:
        self.server = server
        self.dfx = FakeDfx.install(folder)
        self.dfx.add_identity("alice", pem("alice"))
        self.dfx.add_extension("backup", EXTENSION)
        self.dfx.point_local_at(server.url)
        self.chat = ReplicaBench(server, driver=NOBODY, stranger=NOBODY, down=NOBODY)
        self.root = folder / "project"
        ids = self.root / ".dfx" / "local"
        ids.mkdir(parents=True)
        (self.root / "dfx.json").write_text(json.dumps({"canisters": {"chat": {}}}))
        (ids / "canister_ids.json").write_text(json.dumps({"chat": {"local": self.chat.canister}}))

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return self.dfx.run("backup", *argv, cwd=self.root)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with ReplicaServer.start() as server:
        made = Project(server, tmp_path)
        yield made
        made.chat.close()
        made.dfx.check()


def test_lost_data_comes_back(project: Project) -> None:
    created = project.run("snapshot", "create", "chat", "--json")
    assert created.returncode == 0, created.stderr
    told = json.loads(created.stdout)
    assert told["data"]["driver"] == "dfx 0.32.0"
    assert told["data"]["consistency"] == "consistent"
    (snapshot,) = project.chat.snapshots()
    assert told["data"]["snapshot_id"] == snapshot
    assert project.chat.state() is RunState.RUNNING
    project.chat.write(b"")
    loaded = project.run("snapshot", "load", "chat", snapshot, "--yes")
    assert loaded.returncode == 0, loaded.stderr
    assert project.chat.read() == b"first"
    assert project.chat.state() is RunState.RUNNING


def test_a_passphrase_from_a_file_reaches_dfx(project: Project, tmp_path: Path) -> None:
    project.dfx.add_encrypted_identity("sealed", pem("alice"), password="correct horse")
    password = tmp_path / "password"
    password.write_text("correct horse\n")
    password.chmod(0o600)
    words = ("snapshot", "create", "chat", "--identity", "sealed", "--identity-password-file")
    created = project.run(*words, str(password))
    assert created.returncode == 0, created.stderr
    assert len(project.chat.snapshots()) == 1
    assert "correct horse" not in created.stdout + created.stderr


def test_after_ctrl_c_dfx_is_gone_and_the_canister_is_started_all_the_same(
    project: Project,
) -> None:
    """The terminal's signal ends dfx at once; the extension goes on, and its own dfx with it."""
    project.server.faults.set(latency_by_method_s={"take_canister_snapshot": 1.5})
    running = subprocess.Popen(
        [str(project.dfx.bin_dir / "dfx"), "backup", "snapshot", "create", "chat", "--json"],
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
    assert running.wait(timeout=5) == -signal.SIGINT
    assert running.stdout is not None
    told = json.loads(running.stdout.read())  # until the extension ends, too
    running.stdout.close()
    assert told["exit_code"] == 130
    assert project.chat.state() is RunState.RUNNING
    assert project.server.faults.counters().executed["take_canister_snapshot"] == 1


def wait_for_call(project: Project, method: str) -> None:
    deadline = time.monotonic() + 60
    while not project.server.faults.counters().calls.get(method):
        assert time.monotonic() < deadline
        time.sleep(0.05)
