"""A project with a repository whose canister `note` is built from the Rust kit.

project = StableRepositoryProject(server, tmp_path)
backup = project.export()["backup_id"]
"""

from pathlib import Path
from typing import Any

from dfx_backup.replica.server import ReplicaServer
from tests.fakes.backup_project import BackupProject
from tests.fakes.stable_project import StableProject


class StableRepositoryProject(StableProject, BackupProject):
    """Runs every command with the repository in its environment."""

    def __init__(self, server: ReplicaServer, folder: Path) -> None:
        super().__init__(server, folder)

    def fill(self, first: Any, pages: Any = None, **how: Any) -> None:
        """Pages of the ballast, as `StableProject` fills them."""
        StableProject.fill(self, first, pages, **how)

    def export(self, *argv: str, stream: str = "ballast", **more: Any) -> Any:
        """The `data` of an export into the repository that goes well."""
        words = ("stable", "export", "note", "--stream", stream)
        return self.envelope(*words, *argv, **more)["data"]
