"""The folder of a download while it is not finished: who has it, what it is, what is in it."""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from dfx_backup.errors import DamageError, InterruptedRunError, RefusedError
from dfx_backup.ic.snapshot_metadata import SnapshotMetadata
from dfx_backup.ic.snapshot_parts import Section, Slice
from dfx_backup.transfer import metadata_json
from dfx_backup.transfer.folder import (
    CHUNKS_NAME,
    JOURNAL_NAME,
    check_folder,
    open_folder,
)
from dfx_backup.transfer.resume import Journal
from dfx_backup.transfer.section_file import SectionFile
from dfx_backup.transfer.terms import (
    BackupIdentity,
    DownloadReport,
    TransferOptions,
)

_FORMAT = "dfx-backup download"
_VERSION = 1


class DownloadFolder:
    """A folder that this process fills.

    Attributes:
        folder: which one.
        left_behind: slices are still in flight that may be written when they arrive: the files
            and the lock stay open until the process ends.
    """

    def __init__(self, folder: Path, what: BackupIdentity, journal: Journal) -> None:
        self.folder = folder
        self.left_behind = False
        self._what = what
        self._journal = journal
        self._files: tuple[SectionFile, ...] = ()

    @classmethod
    @contextmanager
    def open(cls, folder: Path, what: BackupIdentity, *, resume: bool) -> Iterator[Self]:
        """Take a folder for a download, and let it go at the end of the block.

        Raises:
            RefusedError: it holds something else than an unfinished download of this snapshot.
            LockedError: another process has it.
            ProjectError, OSError: it can't be used.
        """
        made = not folder.exists()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            _check_is_ours(folder, resume=resume)
            place = cls(folder, what, Journal.open(folder / JOURNAL_NAME))
        except BaseException:
            if made:
                _remove_empty(folder)
            raise
        try:
            place.check_header()
            yield place
        finally:
            place.close(remove_folder=made)

    def check_header(self) -> None:
        """Compare an earlier run's journal with what is wanted now.

        Raises:
            RefusedError: it is about something else.
            DamageError: it can't be understood.
        """
        if self._journal.header is None:
            others = {each.name for each in self.folder.iterdir()} - _own_names()
            if others:
                raise _in_use(self.folder)
            return
        header = self._journal.fields()
        if header.text("format") != _FORMAT or header.whole("version") != _VERSION:
            raise header.damaged(f"it is no `{_FORMAT}` of version {_VERSION}")
        for name, wanted in _identity(self._what).items():
            found = header.text(name)
            if found != wanted:
                what = name.replace("_", " ")
                raise RefusedError(
                    f"{self.folder} holds an unfinished download of {what} {found}, not {wanted}",
                    hint="Use another folder, or resume the other download.",
                )

    def begin(self, metadata: SnapshotMetadata) -> None:
        """The snapshot's metadata is known: begin, or go on with the same.

        Raises:
            DamageError: the snapshot has changed since the download began.
        """
        told = metadata_json.to_json(metadata).decode()
        header = self._journal.header
        if header is None:
            fixed = {"format": _FORMAT, "version": _VERSION, "metadata": told}
            self._journal.begin(fixed | _identity(self._what))
        elif header.get("metadata") != told:
            raise DamageError(
                f"snapshot {self._what.snapshot_id} is not the one that {self.folder} was begun"
                " with: its metadata has changed",
                hint="Download it into another folder.",
            )
        if metadata.wasm_chunk_store:
            (self.folder / CHUNKS_NAME).mkdir(mode=0o700, exist_ok=True)

    def entries(self) -> list[tuple[Section, int, int, int]]:
        """Section, offset, size and CRC-32 of each slice that an earlier run finished."""
        found = []
        for line in self._journal.lines:
            match line:
                case [str(name), int(offset), int(size), int(crc)] if name in set(Section):
                    found.append((Section(name), offset, size, crc))
        return found

    def note(self, part: Slice, crc: int) -> None:
        """A slice is in its file."""
        self._journal.add([part.section.value, part.offset, part.size, crc])

    def keep(self, *files: SectionFile) -> None:
        """Close these files with the folder."""
        self._files = files

    def check_stop(self, options: TransferOptions) -> None:
        """End when somebody wants it.

        Raises:
            InterruptedRunError: so it is.
        """
        if options.should_stop():
            raise InterruptedRunError("the transfer was interrupted")

    def sync(self) -> None:
        """Force the journal to the disk."""
        self._journal.sync()

    def done(self) -> None:
        """The folder is whole: the journal goes."""
        self._journal.remove()

    def close(self, *, remove_folder: bool) -> None:
        """Let the folder go; one that was made for nothing is removed."""
        if self.left_behind:
            return
        for file in self._files:
            file.close()
        if self._journal.header is None:
            self._journal.remove()
        self._journal.close()
        if self._journal.header is None and remove_folder:
            _remove_empty(self.folder)


def finished_download(folder: Path, what: BackupIdentity) -> DownloadReport | None:
    """The report on a folder that holds this snapshot whole, or None when it is not finished.

    Raises:
        RefusedError: it holds another snapshot.
        DamageError: it is damaged.
        ProjectError: it can't be read.
    """
    if not folder.is_dir() or (folder / JOURNAL_NAME).exists():
        return None
    contents = open_folder(folder)
    if contents.record is None:
        return None
    if _identity(contents.record.identity) != _identity(what):
        raise RefusedError(f"{folder} holds another snapshot", hint="Use another folder.")
    report = check_folder(folder)
    if report.problems or report.metadata is None:
        raise DamageError(
            f"{folder} holds this snapshot, but damaged: {' '.join(report.problems)}",
            hint="Download it into another folder.",
        )
    total = sum(each.size for each in report.files[:-1])
    return DownloadReport(
        folder=folder,
        metadata=report.metadata,
        files=report.files,
        total_bytes=total,
        moved_bytes=0,
        resumed_bytes=total,
        known_bytes=0,
        zero_bytes=0,
        slices=0,
        retries=0,
        seconds=0.0,
        window=0,
    )


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # somebody else has put something in
        folder.rmdir()


def _identity(what: BackupIdentity) -> dict[str, str]:
    return {
        "network_id": what.network_id,
        "canister_id": what.canister_id,
        "snapshot_id": what.snapshot_id,
    }


def _own_names() -> set[str]:
    return {JOURNAL_NAME}


def _check_is_ours(folder: Path, *, resume: bool) -> None:
    names = {each.name for each in folder.iterdir()}
    if JOURNAL_NAME in names and not resume:
        if (folder / JOURNAL_NAME).stat().st_size == 0 and names == {JOURNAL_NAME}:
            return
        raise RefusedError(
            f"{folder} holds an unfinished download", hint="Use --resume to go on with it."
        )
    if names and JOURNAL_NAME not in names:
        raise _in_use(folder)


def _in_use(folder: Path) -> RefusedError:
    return RefusedError(f"{folder} is not empty", hint="Use a folder that is empty or new.")
