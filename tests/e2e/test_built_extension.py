"""The built extension, installed and used: by hand behind the stand-in, and served to dfx-core."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.model import RunState
from dfx_backup.replica.server import ReplicaServer
from scripts.release import layout, serve
from tests.contract.replica_bench import ReplicaBench, pem
from tests.fakes.dfx.install import FakeDfx
from tests.fakes.dfx.judge import judge
from tests.fakes.memory_driver import MemoryDriver
from tests.fakes.memory_management import MemorySubnet

pytestmark = pytest.mark.slow

NOBODY = MemoryDriver(MemorySubnet())
ROUTES = ["by hand", pytest.param("served", marks=pytest.mark.judge)]
DEMO_S = 110


class Machine:
    """A machine with dfx and nothing else of ours than what was built."""

    def __init__(self, folder: Path, front: Path | None = None) -> None:
        self.dfx = FakeDfx.install(folder)
        self.front = front or self.dfx.bin_dir / "dfx"

    def install_by_hand(self) -> None:
        script = layout.ROOT / "scripts" / "install_extension.py"
        self.check(sys.executable, str(script))

    def install_served(self, release: layout.Release) -> None:
        with serve.server(release.folder, 0) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            address = f"http://localhost:{server.server_address[1]}/extension.json"
            try:
                self.check(str(self.front), "extension", "install", address)
            finally:
                server.shutdown()
                thread.join()

    def check(self, *argv: str) -> None:
        """Run a program that must end well."""
        done = subprocess.run(
            argv, env=self.dfx.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr


class Project:
    """A dfx project with the canister `chat`, which alice controls; commands are typed in `src`.

    Unless told otherwise, dfx takes the user for mallory.
    """

    def __init__(self, machine: Machine, server: ReplicaServer, folder: Path) -> None:
        self.machine = machine
        for name in ("alice", "mallory"):
            machine.dfx.add_identity(name, pem(name))
        machine.dfx.point_local_at(server.url)
        self.chat = ReplicaBench(server, driver=NOBODY, stranger=NOBODY, down=NOBODY)
        self.root = folder / "project"
        self.below = self.root / "src"
        self.below.mkdir(parents=True)
        ids = self.root / ".dfx" / "local" / "canister_ids.json"
        ids.parent.mkdir(parents=True)
        ids.write_text(json.dumps({"chat": {"local": self.chat.canister}}))
        (self.root / "dfx.json").write_text(json.dumps({"canisters": {"chat": {}}}))

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start `dfx` with these words."""
        return subprocess.Popen(
            [str(self.machine.front), *words],
            env=self.machine.dfx.environment | {"PWD": str(self.below)},
            cwd=self.below,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )

    def told(self, *words: str) -> dict[str, Any]:
        """The envelope of a line; dfx itself knows only that it went well, or did not."""
        with self.start(*words, "--json") as running:
            stdout, _ = running.communicate(timeout=100)
        envelope: dict[str, Any] = json.loads(stdout)
        assert running.returncode == (255 if envelope["exit_code"] else 0)
        return envelope


@pytest.fixture(scope="module", params=ROUTES)
def machine(
    request: pytest.FixtureRequest,
    release: layout.Release,
    tmp_path_factory: pytest.TempPathFactory,
) -> Machine:
    folder = tmp_path_factory.mktemp("machine")
    if request.param == "served":
        made = Machine(folder, judge())
        made.install_served(release)
    else:
        made = Machine(folder)
        made.install_by_hand()
    return made


@pytest.fixture(scope="module")
def project(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with ReplicaServer.start() as server:
        made = Project(machine, server, tmp_path_factory.mktemp("project"))
        yield made
        made.chat.close()
        machine.dfx.check()


def test_it_is_the_built_program(machine: Machine, unpacked: Path) -> None:
    place = machine.dfx.cache / "extensions" / "backup"
    assert (place / "backup").read_bytes() == (unpacked / "backup").read_bytes()
    assert (place / "backup").stat().st_mode & 0o777 == 0o500


def test_the_identity_may_stand_on_either_side(project: Project) -> None:
    words = ("snapshot", "create", "chat")
    refused = project.told("backup", *words)
    assert refused["exit_code"] == 50, refused
    for line in (
        ("--identity", "alice", "backup", *words),
        ("backup", *words, "--identity", "alice"),
        ("--identity", "mallory", "backup", *words, "--identity=alice"),
    ):
        made = project.told(*line)
        assert made["exit_code"] == 0, made
        assert made["data"]["driver"] == "dfx 0.32.0"
        assert made["data"]["snapshot_id"] in project.chat.snapshots()
    assert project.chat.state() is RunState.RUNNING


def test_relative_paths_begin_where_the_user_stands(project: Project) -> None:
    (project.below / "password").write_text("secret\n")
    (project.below / "password").chmod(0o600)
    alice, keys = ("--identity", "alice"), ("--password-file", "password")
    made = project.told("backup", "init", "--repo", "../../backups", *keys)
    assert made["exit_code"] == 0, made
    assert (project.root.parent / "backups" / "config").is_file()
    created = project.told(*alice, "backup", "create", "chat", *keys)
    assert created["exit_code"] == 0, created
    exported = project.told("backup", "export", "chat@latest", "copy", *keys)
    assert exported["exit_code"] == 0, exported
    assert (project.below / "copy" / "metadata.json").is_file()
    before = project.chat.read()
    project.chat.write(b"")
    restored = project.told(*alice, "backup", "restore", "chat@latest", "--yes", *keys)
    assert restored["exit_code"] == 0, restored
    assert project.chat.read() == before


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (("backup", "show"), 2),
        (("backup", "list", "--repo", "nowhere"), 10),
        (("backup", "snapshot", "list", "nobody"), 30),
        (("backup", "kit", "motoko", "--dir", "/proc/nowhere"), 30),
    ],
)
def test_exit_codes_are_in_the_envelope(project: Project, line: tuple[str, ...], code: int) -> None:
    assert project.told(*line)["exit_code"] == code


def test_ctrl_c_in_the_middle_leaves_a_running_canister(project: Project) -> None:
    """The terminal's signal ends dfx at once; the program goes on until the canister runs."""
    faults = project.chat.server.faults
    faults.set(latency_by_method_s={"take_canister_snapshot": 1.5})
    calls = faults.counters().calls.get("take_canister_snapshot", 0)
    words = ("backup", "snapshot", "create", "chat", "--identity", "alice", "--json")
    with project.start(*words) as running:
        deadline = time.monotonic() + 60
        while faults.counters().calls.get("take_canister_snapshot", 0) == calls:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGINT)
        assert running.wait(timeout=10) == -signal.SIGINT
        assert running.stdout is not None
        told = json.loads(running.stdout.read())  # until the program ends, too
    faults.set(latency_by_method_s={})
    assert told["exit_code"] == 130
    assert project.chat.state() is RunState.RUNNING


@pytest.mark.timeout(2 * DEMO_S)
def test_the_demo_runs_through_dfx(machine: Machine) -> None:
    """It has a home of its own, so dfx is told where it has its extensions."""
    cache = machine.dfx.environment["DFX_CACHE_ROOT"]
    line = f"env DFX_CACHE_ROOT={cache} {machine.front} backup"
    done = subprocess.run(
        [sys.executable, "scripts/demo.py", "--program", line, "--below", "src"],
        cwd=layout.ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("DFX_")},
        capture_output=True,
        text=True,
        timeout=DEMO_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "byte for byte, twice" in done.stdout
