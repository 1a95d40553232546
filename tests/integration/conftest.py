"""What most tests here stand on: a replica for the module, and a project with a repository."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dfx_backup.replica.server import ReplicaServer
from dfx_backup.repository import keys
from tests.fakes.backup_project import BackupProject


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[ReplicaServer]:
    """A replica; modules with `DELEGATION = True` have a subnet below the root key, as mainnet."""
    delegation = getattr(request.module, "DELEGATION", False)
    with ReplicaServer.start(delegation=delegation) as started:
        yield started


@pytest.fixture
def quick_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords that are quick to try; the engine's own tests try slow ones."""
    monkeypatch.setattr(keys, "SCRYPT_N", 1 << 10)


@pytest.fixture
def project(
    server: ReplicaServer,
    tmp_path: Path,
    quick_keys: None,  # noqa: ARG001 - what it does is wanted, not what it gives
) -> Iterator[BackupProject]:
    """A project whose canister `note` holds nothing yet."""
    with closing(BackupProject(server, tmp_path)) as made:
        yield made
