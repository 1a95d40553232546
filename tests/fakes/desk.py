"""A stage with a repository that opens by itself, for whole command lines."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.fakes.repositories import PASSWORD
from tests.fakes.snapshot_folder import TAKEN, write_folder
from tests.fakes.stage import Stage

DAY = 86400


class Desk:
    """Runs command lines on one repository.

    Args:
        folder: where everything lies.
        repo: the repository's location; a folder `repo` without one.
        env: more variables.
    """

    def __init__(
        self, folder: Path, *, repo: str = "repo", env: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.stage = Stage(folder)
        self.password = folder / "password"
        self.password.write_text(f"{PASSWORD}\n")
        self.env = {"DFX_BACKUP_PASSWORD_FILE": str(self.password), "DFX_BACKUP_REPO": repo}
        self.env |= {"PATH": os.environ["PATH"], **(env or {})}

    @property
    def repo(self) -> Path:
        return self.folder / "repo"

    def run(self, *argv: str, code: int = 0, **more: Any) -> Any:
        """The `data` of a command that ends with the code; the envelope when it is not 0."""
        env = self.env | more.pop("env", {})
        found = self.stage.run(*argv, "--json", env=env, **more)
        assert found == code, (found, self.stage.stdout, self.stage.stderr)
        return self.stage.envelope if code else self.stage.envelope["data"]

    def text(self, *argv: str, code: int = 0, **more: Any) -> str:
        env = self.env | more.pop("env", {})
        found = self.stage.run(*argv, env=env, **more)
        assert found == code, (found, self.stage.stdout, self.stage.stderr)
        return self.stage.stdout

    def bring(self, day: int = 0, *argv: str, **content: Any) -> str:
        """Import a folder that was taken so many days after the first; the backup's id."""
        folder = self.folder / f"copy-{len(list(self.folder.iterdir()))}"
        write_folder(folder, taken_at=TAKEN + day * DAY, **({"stable": {2: b"two"}} | content))
        found: str = self.run("import", str(folder), *argv)["backup_id"]
        return found
