"""The files of an export while it runs: an earlier one stays whole until the new one is.

The bytes arrive in NAME.stable.part. When they are complete, the sidecar is written beside them,
the journal says so, and only then both get their names: whoever finds such a journal ends that.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Self

from dfx_backup.errors import RefusedError
from dfx_backup.files import replace_file, sync_folder
from dfx_backup.model import SnapshotId
from dfx_backup.transfer.resume import Journal
from dfx_backup.transfer.section_file import SectionFile
from dfx_backup.transfer.slices import read_exactly
from dfx_backup.transfer.stable_data import unusable
from dfx_backup.transfer.stable_sidecar import Sidecar, StablePaths, StreamIdentity

_COMMIT = "commit"


@contextlib.contextmanager
def opened(
    paths: StablePaths,
    what: StreamIdentity,
    chunk_size: int,
    *,
    snapshot: SnapshotId | None = None,
) -> "Iterator[ExportWork]":
    """As `ExportWork.open`, for a block; whoever puts the chunks closes the files.

    Raises:
        LockedError, RefusedError, DamageError: as `ExportWork.open`.
        ProjectError: they can't be used, when they are opened or in the block.
    """
    try:
        yield ExportWork.open(paths, what, chunk_size, snapshot=snapshot)
    except OSError as error:
        raise unusable(paths.part, error) from error


class ExportWork:
    """The files of one export, locked: a `StreamWork`; see `open`.

    Attributes:
        paths: the files.
        stream: name of the stream.
        chunk_bytes: bytes of each chunk but the last.
        previous: what the earlier export's sidecar tells, or None.
        resumed: numbers of the chunks that an interrupted run has finished.
        hashes: of those of them of which it noted one; of the others the canister is asked.
    """

    def __init__(  # made in one place, below
        self,
        paths: StablePaths,
        stream: str,
        chunk_bytes: int,
        journal: Journal,
        previous: Sidecar | None,
        resumed: Sequence[int],
    ) -> None:
        self.paths = paths
        self.stream = stream
        self.chunk_bytes = chunk_bytes
        self.previous = previous
        self.resumed = resumed
        self.hashes = _noted(journal) if resumed else {}
        self._journal = journal
        self._file: SectionFile | None = None
        self._earlier = -1

    @classmethod
    def open(
        cls,
        paths: StablePaths,
        what: StreamIdentity,
        chunk_size: int,
        *,
        snapshot: SnapshotId | None = None,
    ) -> Self:
        """Lock the files and find out what is there.

        Args:
            paths: the files.
            what: which stream.
            chunk_size: bytes with one hash.
            snapshot: all is read from this one; what came from elsewhere is read again.

        Raises:
            LockedError: another process works with them.
            RefusedError: they hold something else.
            DamageError: the earlier sidecar can't be understood.
            ProjectError: they can't be used.
            OSError: the same.
        """
        paths.base.parent.mkdir(parents=True, exist_ok=True)
        journal = Journal.open(paths.journal)
        try:
            if {_COMMIT: True} in journal.lines:
                _name(paths)
                journal.begin({})
                journal.lines = ()
            previous = check_previous(paths, what)
            header = _header(what, chunk_size, snapshot)
            resumed = _resumed(paths, journal, what, header)
            return cls(paths, what.stream, chunk_size, journal, previous, resumed)
        except BaseException:
            journal.close()
            raise

    @property
    def file(self) -> SectionFile:
        """The bytes, as far as they have come; opened by `begin`."""
        assert self._file is not None  # or nothing has begun
        return self._file

    def begin(self, size: int) -> None:
        """Open the file for so many bytes."""
        self._file = SectionFile(self.paths.part, size)

    def resize(self, size: int) -> None:
        """Give the file another size."""
        os.ftruncate(self.file.handle, size)
        self.file.size = size

    def begin_again(self) -> None:
        """Write zeros, too, from now on: a file that was opened empty leaves them out."""
        size = self.file.size
        self.file.close()
        self.begin(size)

    def put(self, offset: int, data: bytes) -> None:
        """Write into the file; pages of zeros become holes."""
        self.file.put(offset, data)

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the file."""
        return self.file.read(offset, length)

    def earlier(self, index: int, length: int, hash_: bytes) -> bytes | None:
        """A chunk of the earlier export, when it is there, and what it should be."""
        table = None if self.previous is None else self.previous.hashes
        if table is None or table.chunk_size != self.chunk_bytes or table.get(index) != hash_:
            return None
        try:
            if self._earlier < 0:
                self._earlier = os.open(self.paths.data, os.O_RDONLY | os.O_CLOEXEC)
            data = read_exactly(self._earlier, length, index * self.chunk_bytes)
        except OSError:
            return None  # then it is read from the canister
        return data if hashlib.sha256(data).digest() == hash_ else None

    def note(self, indexes: Sequence[int]) -> None:
        """These chunks are in the file. Threads may do so at the same time."""
        self._journal.add(list(indexes))

    def note_hashes(self, first: int, hashes: Sequence[bytes]) -> None:
        """The same of consecutive chunks, whose hashes nobody else tells later."""
        self._journal.add({"first": first, "hashes": [each.hex() for each in hashes]})

    def sync(self) -> None:
        """Force the bytes, and then the journal, to the disk."""
        self.file.sync()
        self._journal.sync()

    def commit(self, sidecar: Sidecar) -> None:
        """Give both files their names; the bytes are on the disk already."""
        replace_file(self.paths.new_sidecar, sidecar.to_json())
        self._journal.add({_COMMIT: True}, sync=True)
        _name(self.paths)
        self._journal.remove()

    def close(self) -> None:
        """Let others have the files."""
        if self._file is not None:
            self._file.close()
        if self._earlier >= 0:
            os.close(self._earlier)
        self._journal.close()


def check_previous(paths: StablePaths, what: StreamIdentity) -> Sidecar | None:
    """What an earlier export tells, or None when there is none.

    Raises:
        RefusedError: the files hold something else.
        DamageError: the sidecar can't be understood.
    """
    previous = Sidecar.read(paths.sidecar)
    if previous is None:
        if paths.data.exists():
            raise RefusedError(
                f"{paths.data} is there, and {paths.sidecar.name} is not: it may be anything",
                hint="name other files with --file, or move it away",
            )
        return None
    found = previous.identity
    if not found.is_same_memory(what):
        raise RefusedError(
            f"{paths.data} is a copy of {found.stream} of {found.canister_id}, not of"
            f" {what.stream} of {what.canister_id} on this network",
            hint="name other files with --file",
        )
    return previous


def _header(
    what: StreamIdentity, chunk_size: int, snapshot: SnapshotId | None
) -> dict[str, object]:
    about = {
        "network_id": what.network_id,
        "canister_id": what.canister_id,
        "stream": what.stream,
        "protocol": what.protocol,
    }
    header: dict[str, object] = {"about": about, "chunk_size": chunk_size}
    return header if snapshot is None else header | {"snapshot": snapshot}


def _resumed(
    paths: StablePaths, journal: Journal, what: StreamIdentity, header: Mapping[str, object]
) -> Sequence[int]:
    """Chunks that an interrupted run has finished; afterwards the journal speaks of this run."""
    if journal.header and not _is_of(journal.header, what):
        raise RefusedError(
            f"{paths.part} is an interrupted export of something else",
            hint=f"name other files with --file, or remove {paths.journal} to give it up",
        )
    if journal.header == header and paths.part.exists():
        found = (each for each in journal.lines if isinstance(each, list))
        numbers = {index for each in found for index in each if isinstance(index, int)}
        return sorted(numbers | _noted(journal).keys())
    paths.part.unlink(missing_ok=True)
    paths.new_sidecar.unlink(missing_ok=True)
    journal.begin(header)
    journal.lines = ()
    return ()


def _is_of(header: Mapping[str, object], what: StreamIdentity) -> bool:
    """Whether a journal is about this memory; one that was read another way begins anew."""
    match header.get("about"):
        case {
            "network_id": what.network_id,
            "canister_id": what.canister_id,
            "stream": what.stream,
            "protocol": str(protocol),
        }:
            return what.is_same_memory(replace(what, protocol=protocol))
    return False


def _noted(journal: Journal) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for line in journal.lines:
        match line:
            case {"first": int(first), "hashes": list(hashes)}:
                found |= {first + at: bytes.fromhex(each) for at, each in enumerate(hashes)}
    return found


def _name(paths: StablePaths) -> None:
    """Give what is complete its names, as far as that has not been done."""
    for new, name in ((paths.part, paths.data), (paths.new_sidecar, paths.sidecar)):
        with contextlib.suppress(FileNotFoundError):
            new.replace(name)
    sync_folder(paths.base.parent)
