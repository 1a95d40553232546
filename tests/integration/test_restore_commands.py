"""`restore`, typed at a real replica."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.replica.server import ReplicaServer
from dfx_backup.repository import keys
from tests.fakes.restore_project import RestoreProject

MIB = 1 << 20


@pytest.fixture(autouse=True)
def quick_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords that are quick to try; the engine's own tests try slow ones."""
    monkeypatch.setattr(keys, "SCRYPT_N", 16)


@pytest.fixture(scope="module")
def server() -> Iterator[ReplicaServer]:
    with ReplicaServer.start(delegation=True) as started:
        yield started


@pytest.fixture
def project(server: ReplicaServer, tmp_path: Path) -> Iterator[RestoreProject]:
    made = RestoreProject(server, tmp_path)
    yield made
    made.close()


def test_the_state_is_back(project: RestoreProject) -> None:
    project.write(b"precious")
    backup = project.back_up()
    project.write(b"lost")

    told = project.data("restore", backup[:8], "--yes")

    assert project.read() == b"precious"
    assert told["running"]
    assert told["safety_snapshot_id"]
    assert told["outage_seconds"] > 0
    left = set(project.canister.snapshots)
    assert len(left) == 1, "the safety snapshot alone is kept"
