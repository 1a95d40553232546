"""From where a repository lies and who may open it to an open repository."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from dfx_backup.errors import NoRepositoryError, RefusedError, UsageError
from dfx_backup.progress import Progress
from dfx_backup.repository.config import BLOB_BYTES
from dfx_backup.repository.keys import Password
from dfx_backup.repository.local import LocalStore
from dfx_backup.repository.machine import Machine
from dfx_backup.repository.repository import Repository, is_repository
from dfx_backup.repository.store import ObjectStore

_S3 = "s3:"
_OTHERS = ("sftp:", "rest:", "swift:", "b2:", "azure:", "gs:", "rclone:", "http:", "https:")
"""Places that restic knows, or that look like one: not folders of such a name."""


class PasswordGiver(Protocol):
    """Where a password comes from: a file, a command, or somebody at the terminal."""

    def __call__(self, what: str, *, new: bool) -> str:
        """The password.

        Args:
            what: what it opens, for a question.
            new: it is being chosen now, so one that is typed is asked for twice.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where a repository lies.

    Attributes:
        text: as it is told and as restic takes it: an absolute path, or `s3:https://…`.
        folder: the local folder, or None in S3.
    """

    text: str
    folder: Path | None

    @classmethod
    def parse(cls, typed: str, *, base: Path) -> Self:
        """Read a path or an S3 location.

        Args:
            typed: as the user wrote it.
            base: what a relative path is relative to.

        Raises:
            UsageError: it is neither.
        """
        if not typed.strip() or not typed.isprintable():
            raise UsageError("the location of the repository is empty or holds control characters")
        if typed.startswith(_S3):
            from dfx_backup.repository.s3_access import S3Location  # noqa: PLC0415 - S3 alone

            return cls(text=str(S3Location.parse(typed)), folder=None)
        if typed.startswith(_OTHERS):
            raise UsageError(
                f"`{typed.partition(':')[0]}:` is no place that this program can keep a"
                " repository in",
                hint="Use a folder, or `s3:https://host/bucket/prefix`.",
            )
        try:
            folder = (base / Path(typed).expanduser()).resolve()
        except (OSError, RuntimeError, ValueError) as error:
            raise UsageError(f"`{typed}` is no path that can be used: {error}") from error
        return cls(text=str(folder), folder=folder)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The way to one repository.

    Attributes:
        location: where it lies.
        machine: who works on it.
        password: gives the password when it is needed.
        progress: hears of locks that are removed.
        environment: environment variables; S3 finds its credentials there.
    """

    location: Location
    machine: Machine
    password: PasswordGiver
    progress: Progress
    environment: Mapping[str, str] = field(repr=False)

    def store(self) -> ObjectStore:
        """Where its objects lie; nothing is read yet.

        Raises:
            ToolError: the extra for S3 is not installed.
            StoreError: a file with credentials can't be read.
        """
        if self.location.folder is not None:
            return LocalStore(self.location.folder)
        from dfx_backup.repository.s3 import open_s3  # noqa: PLC0415 - S3 alone

        return open_s3(self.location.text, environ=self.environment)

    def open(self) -> Repository:
        """Open the repository; the password is asked for only when there is one.

        Raises:
            NoRepositoryError: there is none.
            WrongKeyError: the password does not open it.
            DamageError: it is damaged.
            RefusedError: another version of the format.
            StoreError: the place can't be used.
        """
        store = self.store()
        if not is_repository(store):
            raise NoRepositoryError(
                f"there is no repository in {self.location}",
                hint=f"`init --repo {self.location}` makes one.",
            )
        password = self.password(f"repository {self.location}", new=False)
        return Repository.open(store, Password(password), self.machine)

    def init(self, *, blob_size: int = BLOB_BYTES) -> Repository:
        """Make the repository.

        Args:
            blob_size: bytes of the pieces into which files are cut.

        Raises:
            RefusedError: there is one already, or what is left of one.
            WrongKeyError: no password was given.
            StoreError: the place can't be used.
        """
        store = self.store()
        if is_repository(store):
            raise RefusedError(f"there is a repository in {self.location} already")
        password = self.password(f"repository {self.location}", new=True)
        return Repository.init(store, Password(password), self.machine, blob_size=blob_size)


def choose_location(
    typed: str | None,
    variable: str | None,
    settings: str | None,
    *,
    cwd: Path,
    settings_folder: Path | None,
) -> Location:
    """The repository's location: option, environment, dfx-backup.toml.

    Args:
        typed: the option.
        variable: the environment variable.
        settings: what dfx-backup.toml says.
        cwd: where the command was typed.
        settings_folder: the folder of dfx-backup.toml, to which a path in it is relative.

    Raises:
        NoRepositoryError: nothing names one.
        UsageError: what is named can't be read.
    """
    if typed is not None or variable is not None:
        return Location.parse(typed if typed is not None else variable or "", base=cwd)
    if settings is not None:
        return Location.parse(settings, base=settings_folder or cwd)
    raise NoRepositoryError(
        "no repository is named",
        hint="`init --repo DIR` makes one, and notes it in dfx-backup.toml; an existing one is"
        " named with `--repo` or DFX_BACKUP_REPO.",
    )
