"""Folders that go between this program and the real icp, both ways."""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.cli.context import SystemClock
from dfx_backup.drivers.icp import IcpDriver, IcpPlace, probe_icp
from dfx_backup.ic.principal import Principal
from dfx_backup.model import CanisterId, CanisterRef, Network, NetworkId, SnapshotId
from dfx_backup.operations.snapshot_download import download
from dfx_backup.operations.snapshot_upload import upload
from dfx_backup.operations.target import Runtime, Target
from dfx_backup.operations.transfer_plans import DownloadOptions, UploadOptions, Way
from dfx_backup.transfer.terms import ReadBack, SilentTransfer
from tests.e2e.conftest import run_judge
from tests.fakes.backup_project import BackupProject
from tests.fakes.snapshot_stage import tree
from tests.fakes.transfer_project import TransferProject

pytestmark = pytest.mark.judge

MIB = 1 << 20


class Both:
    """One canister that alice controls through us, and through icp as an identity of its own."""

    def __init__(self, binary: Path, project: TransferProject) -> None:
        home = project.folder / "icp-home"
        home.mkdir()
        self.project = project
        self._binary = binary
        self.environment = {
            "HOME": str(home),
            "ICP_HOME": str(home / "icp"),
            "PATH": os.environ["PATH"],
            "DO_NOT_TRACK": "1",
            "NO_COLOR": "1",
            "NO_PROXY": "127.0.0.1,localhost",
        }
        self._run("identity", "new", "carol", "--storage", "plaintext", "-q")
        principal = self._run("identity", "principal", "--identity", "carol").strip()
        project.canister.controllers.append(Principal.from_text(principal).raw)

    def _run(self, *words: str) -> str:
        return run_judge([str(self._binary), *words], env=self.environment)

    def icp(self, *words: str) -> Any:
        """Run `icp canister snapshot …` on the canister."""
        server = self.project.server
        where = ("-n", server.url, "-k", server.root_key.hex(), "--identity", "carol")
        verb, *rest = words
        told = self._run("canister", "snapshot", verb, self.project.canister_id, *rest, *where)
        return json.loads(told) if "--json" in words else told


@pytest.fixture
def both(icp_binary: Path, tmp_path: Path) -> Iterator[Both]:
    with TransferProject.start(tmp_path) as project:
        yield Both(icp_binary, project)


@pytest.fixture
def snapshot(both: Both) -> str:
    return both.project.plant(
        stable={0: os.urandom(3 * MIB), 7 * MIB: b"end"},
        stable_size=8 * MIB,
        heap={5: b"heap"},
        heap_size=131_072,
        globals_=(("i32", 7), ("i64", -1), ("f64", 0.1)),
        chunks=(b"a chunk",),
        global_timer=10**18,
    )


def test_metadata_is_the_same_to_the_byte(both: Both, snapshot: str) -> None:
    theirs = both.project.folder / "theirs"
    both.icp("download", snapshot, "-o", str(theirs))

    code, told = both.project.run("snapshot", "download", "note", snapshot, "--dir", "ours")

    assert code == 0, told
    ours, other = tree(both.project.folder / "ours"), tree(theirs)
    assert ours["metadata.json"] == other["metadata.json"]
    shared = {name for name in other if name in ours}
    assert shared == set(ours) - {"backup.json"}
    assert {name: hashlib.sha256(ours[name]).digest() for name in shared} == {
        name: hashlib.sha256(other[name]).digest() for name in shared
    }


def test_a_folder_of_theirs_is_uploaded_by_us(both: Both, snapshot: str) -> None:
    folder = both.project.folder / "theirs"
    both.icp("download", snapshot, "-o", str(folder))
    before = tree(folder)

    code, told = both.project.run("snapshot", "verify", "--dir", "theirs")
    assert code == 3, told
    assert told["data"]["made_by"] == "icp"
    words = ("snapshot", "upload", "note", "--dir", "theirs", "--read-back", "all")
    code, told = both.project.run(*words)

    assert code == 0, told
    assert tree(folder) == before
    made = told["data"]["snapshot_id"]
    assert both.project.snapshots.content(made) == both.project.snapshots.content(snapshot)
    assert both.project.canister.snapshots[bytes.fromhex(made)].global_timer == 10**18
    listed = both.icp("list", "--json")["snapshots"]
    assert [each["snapshot_id"] for each in listed] == [snapshot, made]


def test_a_folder_of_ours_is_uploaded_by_them(both: Both, snapshot: str) -> None:
    code, told = both.project.run("snapshot", "download", "note", snapshot, "--dir", "ours")
    assert code == 0, told

    uploaded = both.icp("upload", "-i", str(both.project.folder / "ours"), "--json")

    made = uploaded["snapshot_id"]
    assert both.project.snapshots.content(made) == both.project.snapshots.content(snapshot)
    first, second = (
        both.project.canister.snapshots[bytes.fromhex(each)] for each in (snapshot, made)
    )
    assert second.globals == first.globals
    assert second.certified_data == first.certified_data


def test_icp_moves_folders_for_us(both: Both, snapshot: str, icp_binary: Path) -> None:
    """The way for a key that only icp can use: it works on links, and the folder stays clean."""
    project = both.project
    environment = {**both.environment, "PATH": f"{icp_binary.parent}:{os.environ['PATH']}"}
    tool = probe_icp(environment=environment)
    assert tool is not None
    server = project.server
    driver = IcpDriver(
        tool=tool,
        place=IcpPlace(url=server.url, root_key=server.root_key, identity="carol"),
        clock=time.time,
    )
    target = Target(
        ref=CanisterRef(canister_id=CanisterId(project.canister_id), name="note"),
        network=Network(name="local", url=server.url, root_key=server.root_key),
        network_id=NetworkId(hashlib.sha256(server.root_key).hexdigest()),
        driver=driver,
    )
    clock = SystemClock()
    run = Runtime(state=project.folder / "state", clock=clock, progress=SilentTransfer())
    folder = project.folder / "moved"

    down = download(
        run, target, SnapshotId(snapshot), DownloadOptions(folder=folder), SilentTransfer()
    )
    assert down.plan.way is Way.DRIVER
    assert project.run("snapshot", "verify", "--dir", "moved")[0] == 0
    before = tree(folder)
    options = UploadOptions(folder=folder, clone=True, read_back=ReadBack.ALL)
    up = upload(run, target, options, SilentTransfer())

    assert project.snapshots.content(up.snapshot_id) == project.snapshots.content(
        SnapshotId(snapshot)
    )
    made = project.canister.snapshots[bytes.fromhex(up.snapshot_id)]
    assert made.global_timer is None
    assert tree(folder) == before


def test_what_restic_restores_is_uploaded_by_them(icp_binary: Path, tmp_path: Path) -> None:
    """The way back without this program: a backup of `create`, restic, icp."""
    with BackupProject.start(tmp_path) as project:
        project.fill("note", {0: os.urandom(3 * MIB), 7 * MIB: b"end"}, pages=130)
        both = Both(icp_binary, project)
        (backup,) = project.create("note")["backups"]
        back = tmp_path / "back"
        project.judge().run("restore", backup["restic_id"], "--target", str(back))

        uploaded = both.icp("upload", "-i", str(back), "--json")

        made = SnapshotId(uploaded["snapshot_id"])
        taken = SnapshotId(backup["snapshot_id"])
        assert project.snapshots.content(made) == project.snapshots.content(taken)
        first, second = (project.canister.snapshots[bytes.fromhex(each)] for each in (taken, made))
        assert second.globals == first.globals
        assert second.certified_data == first.certified_data
