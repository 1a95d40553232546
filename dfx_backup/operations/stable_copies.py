"""Copies of streams that can be imported: the files of an export."""

from pathlib import Path
from typing import Protocol

from dfx_backup.errors import DamageError, ProjectError, RefusedError
from dfx_backup.operations.target import Target
from dfx_backup.transfer.stable_check import size_problem
from dfx_backup.transfer.stable_data import FileData, StreamData, unusable
from dfx_backup.transfer.stable_sidecar import Moment, Sidecar, StablePaths

_HINT = "export the stream again"


class StableCopy(Protocol):
    """A complete copy of a stream, wherever it is kept; `str` names it for messages."""

    @property
    def sidecar(self) -> Sidecar:
        """What is known of it."""

    @property
    def words(self) -> tuple[str, ...]:
        """The options that name it on a command line."""

    @property
    def file(self) -> Path | None:
        """Where its bytes are on the disk, or None."""

    @property
    def backup_id(self) -> str | None:
        """Of which backup it is the content, or None."""

    def open(self) -> StreamData:
        """Its bytes.

        Raises:
            ProjectError, DamageError: they can't be read.
        """


def about_copy(copy: StableCopy, target: Target, *, other_canister: bool) -> list[str]:
    """What to know of a copy before it is imported, one sentence each.

    Raises:
        RefusedError: it is another canister's, and that was not allowed.
        DamageError: its file is missing, or has another size.
    """
    identity = copy.sidecar.identity
    _require_size(copy)
    told = []
    if (identity.network_id, identity.canister_id) != (target.network_id, target.canister_id):
        if not other_canister:
            raise RefusedError(
                f"{copy} is a copy of {identity.canister_id}, perhaps on another network, and not"
                f" of {target}",
                hint="add --from-other-canister when that is what you mean",
            )
        told.append(f"It is a copy of {identity.canister_id}: principals in it are its own.")
    if copy.sidecar.moment is Moment.UNPROVEN:
        told.append("Nothing proves that the copy is of one moment.")
    return told


def _require_size(copy: StableCopy) -> None:
    """Look at a copy's file, before a plan is made for it; its bytes are compared later."""
    if copy.file is None:
        return
    try:
        size = copy.file.stat().st_size
    except FileNotFoundError:
        raise DamageError(f"{copy} is missing", hint=_HINT) from None
    except OSError as error:
        raise unusable(copy.file, error) from error
    problem = size_problem(size, copy.sidecar.hashes)
    if copy.file.is_file() and problem is not None:
        raise DamageError(f"{copy}{problem}", hint=_HINT)


class FileCopy:
    """The files of an export; see `read`.

    Attributes:
        paths: the files.
        sidecar: what is known of them.
    """

    backup_id = None

    def __init__(self, paths: StablePaths, sidecar: Sidecar) -> None:
        self.paths = paths
        self.sidecar = sidecar

    @classmethod
    def read(cls, file: Path) -> "FileCopy":
        """The files of that name.

        Raises:
            ProjectError: there are none.
            DamageError: the sidecar can't be understood.
        """
        paths = StablePaths.of(file)
        sidecar = Sidecar.read(paths.sidecar)
        if sidecar is None:
            raise ProjectError(
                f"{paths.sidecar} is not there",
                hint="an export writes it when it is complete: `stable export` goes on with one"
                " that was interrupted"
                if paths.part.exists()
                else "name the files with --file, as `stable export` was told",
            )
        return cls(paths, sidecar)

    def __str__(self) -> str:
        return self.paths.data.name

    @property
    def words(self) -> tuple[str, ...]:
        """The options that name it on a command line."""
        return ("--file", str(self.paths.base))

    @property
    def file(self) -> Path:
        """Where its bytes are."""
        return self.paths.data

    def open(self) -> FileData:
        """Its bytes.

        Raises:
            ProjectError: they can't be read.
        """
        return FileData.open(self.paths.data)
