"""Where an export of a stream goes: files, or a repository."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dfx_backup.model import CanisterRef, Network
from dfx_backup.transfer.stable_reads import CHUNK_BYTES
from dfx_backup.transfer.stable_sidecar import StablePaths, StreamIdentity
from dfx_backup.transfer.stable_terms import StreamWork
from dfx_backup.transfer.stable_work import check_previous, opened
from dfx_backup.transfer.terms import TransferProgress

if TYPE_CHECKING:
    from dfx_backup.operations.stable_repository import StoredStream


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What is at a place before an export.

    Attributes:
        delta: an earlier export is there.
        resumes: an interrupted one is there, and gone on with.
    """

    delta: bool
    resumes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What is exported, and how.

    Attributes:
        canister: the canister.
        network: the network it lives on.
        what: which stream.
        driver: the tool and its version.
        cycles: what the canister pays (estimate).
        tool: name and version of this program.
    """

    canister: CanisterRef
    network: Network
    what: StreamIdentity
    driver: str
    cycles: int
    tool: str


class ExportPlace(Protocol):
    """Where an export goes; `str` names it for people."""

    @property
    def file(self) -> Path | None:
        """Where the bytes will be on the disk, or None."""

    @property
    def repository(self) -> str | None:
        """Into which repository they go, or None."""

    @property
    def words(self) -> tuple[str, ...]:
        """The options that name it on a command line."""

    @property
    def again(self) -> str:
        """What becomes of an interrupted export, before the command that repeats it."""

    @property
    def stored(self) -> "StoredStream | None":
        """The backup, once it is committed."""

    def look(self, what: StreamIdentity, /) -> Outlook:
        """What is there already. Nothing is changed.

        Raises:
            RefusedError: something else is.
            DamageError, ProjectError, StoreError: it can't be read.
        """

    def begin(
        self, origin: Origin, progress: TransferProgress, /
    ) -> AbstractContextManager[StreamWork]:
        """Where the chunks are put, inside the block.

        Raises:
            LockedError: somebody else works there.
            RefusedError, DamageError, ProjectError, StoreError: as `look`.
        """


class FilePlace:
    """NAME.stable.bin and NAME.stable.json.

    Args:
        named: NAME, or one of the files, with the folder.
    """

    repository = None
    again = "go on, with what has arrived"
    stored = None

    def __init__(self, named: Path) -> None:
        self._paths = StablePaths.of(named)

    def __str__(self) -> str:
        return str(self._paths.data)

    @property
    def file(self) -> Path:
        """Where the bytes will be."""
        return self._paths.data

    @property
    def words(self) -> tuple[str, ...]:
        """The options that name it on a command line."""
        return ("--file", str(self._paths.base))

    def look(self, what: StreamIdentity) -> Outlook:
        """What is there already.

        Raises:
            RefusedError: the files hold something else.
            DamageError: the earlier sidecar can't be understood.
        """
        previous = check_previous(self._paths, what)
        resumes = self._paths.journal.exists() and self._paths.part.exists()
        return Outlook(delta=previous is not None, resumes=resumes)

    @contextmanager
    def begin(self, origin: Origin, _progress: TransferProgress) -> Iterator[StreamWork]:
        """The files, locked; whoever puts the chunks closes them.

        Raises:
            LockedError: another process works with them.
            RefusedError, DamageError, ProjectError: as `look`, or they can't be used.
        """
        with opened(self._paths, origin.what, CHUNK_BYTES) as work:
            yield work
