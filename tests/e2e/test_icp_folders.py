"""Folders that go between this program and the real icp, both ways."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.ic.principal import Principal
from tests.e2e.conftest import run_judge
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
        self._env = {
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
        return run_judge([str(self._binary), *words], env=self._env)

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
