"""`create`, typed at a real replica, into real repositories."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.replica.server import ReplicaServer
from dfx_backup.repository import keys
from tests.fakes.repositories import PASSWORD, Restic
from tests.fakes.transfer_project import TransferProject

MIB = 1 << 20
PAGE = 65536


@pytest.fixture(scope="module")
def server() -> Iterator[ReplicaServer]:
    with ReplicaServer.start(delegation=True) as started:
        yield started


@pytest.fixture(autouse=True)
def quick_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "SCRYPT_N", 1 << 10)


@pytest.fixture
def project(server: ReplicaServer, tmp_path: Path) -> Iterator["BackupProject"]:
    made = BackupProject(server, tmp_path)
    yield made
    made.close()


class BackupProject(TransferProject):
    """With a repository of its own."""

    def __init__(self, server: ReplicaServer, folder: Path) -> None:
        super().__init__(server, folder)
        (folder / "password").write_text(f"{PASSWORD}\n")
        self.env = {"DFX_BACKUP_PASSWORD_FILE": str(folder / "password")}
        self.env["DFX_BACKUP_REPO"] = "repo"
        self.did("init")

    def do(self, *argv: str, code: int = 0, **more: Any) -> Any:
        """The envelope of a command that ends with the code."""
        found, told = self.run(*argv, env=self.env | more.pop("env", {}), **more)
        assert found == code, (told, self.stderr)
        return told

    def did(self, *argv: str, **more: Any) -> Any:
        return self.do(*argv, **more)["data"]

    @property
    def repo(self) -> Path:
        return self.folder / "repo"

    def fill(self, content: bytes, *, pages: int | None = None) -> None:
        """What the canister's stable memory holds from now on."""
        size = (pages or -(-len(content) // PAGE)) * PAGE
        stable = self.server.replica.blobs.new(size)
        stable.write(0, content)
        self.canister.stable.blob = stable


def test_a_backup_is_what_the_canister_held(project: BackupProject, tmp_path: Path) -> None:
    told = project.did("create", "note")

    (backup,) = told["backups"]
    assert backup["consistency"] == "consistent"
    judge = Restic(project.repo, tmp_path / "home")
    judge.check("--read-data")
    judge.run("restore", backup["restic_id"], "--target", str(tmp_path / "back"))
    print(sorted((tmp_path / "back").rglob("*")))
    print(told)
