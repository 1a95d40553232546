"""Streams of a canister's memory in a repository: exported into it, and read from it.

A backup of kind `stable` holds the two files of an export, so that what `restic restore` brings is
an export. Chunks go into the repository as they come; nothing is staged on the disk.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dfx_backup.errors import DamageError, ProjectError, UsageError
from dfx_backup.model import Consistency, NetworkId, SnapshotId
from dfx_backup.operations.backup_export import files_of
from dfx_backup.operations.backup_files import commit_backup
from dfx_backup.operations.backups import Backup, Backups, check_tags, read_manifest
from dfx_backup.operations.stable_places import Origin, Outlook
from dfx_backup.progress import Progress
from dfx_backup.repository.loose_file import LooseFile
from dfx_backup.repository.reading import reading
from dfx_backup.repository.repository import Repository
from dfx_backup.repository.store import StoreError
from dfx_backup.repository.trees import Node
from dfx_backup.repository.writer import Writer
from dfx_backup.transfer.backup_details import KIND_STABLE, BackupDetails
from dfx_backup.transfer.backup_json import BackupRecord
from dfx_backup.transfer.stable_details import MEMORY_NAME, SIDECAR_NAME, StableDetails
from dfx_backup.transfer.stable_reads import CHUNK_BYTES
from dfx_backup.transfer.stable_sidecar import Certified, Moment, Sidecar, StreamIdentity
from dfx_backup.transfer.stable_terms import StreamWork
from dfx_backup.transfer.terms import BackupIdentity, FileRecord, PageHash, TransferProgress

_ID_BYTES = 16
_LARGEST_SIDECAR = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredStream:
    """A backup of a stream that is in the repository.

    Attributes:
        record: its manifest.
        restic_id: id of its snapshot object.
    """

    record: BackupRecord
    restic_id: str


class BackupCopy:
    """A backup of a stream as a copy that can be imported; to be used inside `reading`.

    Attributes:
        sidecar: what is known of it.
        backup_id: of which backup it is the content.
    """

    file = None

    def __init__(
        self, repository: Repository, backup: Backup, sidecar: Sidecar, memory: Node
    ) -> None:
        self._repository = repository
        self._backup = backup
        self._memory = memory
        self.sidecar = sidecar
        self.backup_id = backup.backup_id

    @classmethod
    def read(cls, repository: Repository, backup: Backup) -> "BackupCopy":
        """What is known of a backup of a stream.

        Raises:
            UsageError: it is a backup of something else.
            DamageError: it can't be read, or contradicts itself.
            ProjectError: a newer program made it.
        """
        if backup.problem is not None:
            raise backup.problem
        record, details = backup.record, backup.details
        if record is None or details is None or details.stable is None:
            raise UsageError(
                f"{backup} is of the whole canister, not of a stream of its memory",
                hint=f"`restore {backup.backup_id[:8]}` restores it.",
            )
        nodes = dict(files_of(repository, repository.tree(backup.snapshot.tree)))
        memory = nodes.get(MEMORY_NAME)
        sidecar = _sidecar(repository, backup, nodes.get(SIDECAR_NAME), record)
        if StableDetails.of(sidecar) != details.stable:
            raise DamageError(f"{SIDECAR_NAME} of {backup} is not the one its manifest speaks of")
        if memory is None or memory.size != sidecar.hashes.size:
            raise DamageError(f"{backup} lacks {MEMORY_NAME}, or it has the wrong size")
        return cls(repository, backup, sidecar, memory)

    def __str__(self) -> str:
        return str(self._backup)

    @property
    def words(self) -> tuple[str, ...]:
        """The options that name it on a command line."""
        return ("--backup", self.backup_id, "--repo", self._repository.store.describe())

    def open(self) -> "BackupData":
        """Its bytes; every page is compared with its hash."""
        return BackupData(self._repository, self._memory, str(self))


class BackupData:
    """The bytes of a backup of a stream. Threads share it."""

    def __init__(self, repository: Repository, memory: Node, name: str) -> None:
        self._reader = repository.reader()
        self._memory = memory
        self._name = name

    def __str__(self) -> str:
        return self._name

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return self._memory.size

    def read(self, offset: int, length: int) -> bytes:
        """Exactly so many bytes.

        Raises:
            DamageError: they are not what was written.
            StoreError: the repository can't be read.
        """
        return self._reader.read_range(self._memory, offset, length)

    def close(self) -> None:
        """Nothing was opened."""


class RepositoryPlace:
    """A repository that an export goes into.

    Args:
        repository: an open one.
        text: where it lies, for people and command lines.
        tags: the user's.
        progress: hears of locks.

    Attributes:
        stored: the backup, once it is committed.
    """

    file = None
    again = "run it again; what was stored is not stored twice"

    def __init__(
        self, repository: Repository, text: str, tags: Sequence[str], progress: Progress
    ) -> None:
        self._repository = repository
        self._tags = check_tags(tags)
        self._progress = progress
        self.repository = text
        self.stored: StoredStream | None = None

    def __str__(self) -> str:
        return self.repository

    @property
    def words(self) -> tuple[str, ...]:
        """The options that name it on a command line."""
        tags = (word for tag in self._tags for word in ("--tag", tag))
        return ("--repo", self.repository, *tags)

    def look(self, what: StreamIdentity) -> Outlook:
        """Whether there is an earlier backup of this stream.

        Raises:
            LockedError: somebody works on the repository alone.
            DamageError, StoreError: it can't be read.
        """
        with reading(self._repository, self._progress):
            earlier = earlier_copy(self._repository, what, self._progress)
        return Outlook(delta=earlier is not None, resumes=False)

    @contextmanager
    def begin(self, origin: Origin, progress: TransferProgress) -> Iterator[StreamWork]:
        """What puts chunks into the repository, under its shared lock.

        Raises:
            LockedError: somebody works on the repository alone.
            DamageError, StoreError: it can't be used.
        """
        with self._repository.writer(progress=progress) as writer:
            earlier = earlier_copy(self._repository, origin.what, progress)
            yield RepositoryWork(self, writer, origin, earlier, progress)

    def commit(self, writer: Writer, origin: Origin, memory: FileRecord, sidecar: Sidecar) -> None:
        """Make what was written a backup."""
        told = writer.add(SIDECAR_NAME, sidecar.to_json())
        record = BackupRecord(
            identity=BackupIdentity(
                canister_id=origin.canister.canister_id,
                snapshot_id=SnapshotId(""),
                network_id=NetworkId(origin.what.network_id),
                tool=origin.tool,
                created_at=sidecar.created_at,
            ),
            files=(memory, FileRecord(name=told.name, size=told.size, sha256=told.sha256)),
            globals=(),
            backup=_details(origin, sidecar, self._repository.machine.random(_ID_BYTES).hex()),
        )
        record, commit = commit_backup(writer, record, None, tags=self._tags)
        self.stored = StoredStream(record=record, restic_id=commit.snapshot_id)


class RepositoryWork:
    """Puts the chunks of one export into the repository: a `StreamWork`.

    Attributes:
        stream: name of the stream.
        chunk_bytes: bytes of each chunk but the last: whole blobs.
        resumed: none: what an interrupted run has stored is found by its content.
    """

    resumed: Sequence[int] = ()

    def __init__(
        self,
        place: RepositoryPlace,
        writer: Writer,
        origin: Origin,
        earlier: BackupCopy | None,
        progress: TransferProgress,
    ) -> None:
        self.stream = origin.what.stream
        self.chunk_bytes = chunk_bytes(writer.blob_size)
        self._place = place
        self._writer = writer
        self._origin = origin
        self._earlier = earlier
        self._data = None if earlier is None else earlier.open()
        self._progress = progress
        self._file: LooseFile | None = None

    @property
    def file(self) -> LooseFile:
        """The bytes; begun by `begin`."""
        assert self._file is not None  # or nothing has begun
        return self._file

    def begin(self, size: int) -> None:
        """Begin the file."""
        self._file = self._writer.loose_file(MEMORY_NAME)
        self._file.resize(size)

    def resize(self, size: int) -> None:
        """Give the file another size."""
        self.file.resize(size)

    def begin_again(self) -> None:
        """What comes later always takes the place of what was there."""

    def put(self, offset: int, data: bytes) -> None:
        """Store chunks, unless they are stored.

        Raises:
            StoreError: an upload failed.
        """
        self.file.write(offset, data)

    def read(self, offset: int, length: int) -> bytes:
        """Nothing is ever resumed here, see `resumed`.

        Raises:
            LookupError: always.
        """
        raise LookupError(f"no interrupted run has put {length} bytes at {offset} here")

    def earlier(self, index: int, length: int, hash_: bytes) -> bytes | None:
        """A chunk of the earlier backup: read back, and compared with the hash.

        It is not enough that its pages are in the index: a backup must not lean on damage.

        Raises:
            DamageError: it is not what was once written; read again from the canister, it would
                not be stored again, since the repository has pages of these hashes.
            StoreError: the repository can't be read.
        """
        if self._earlier is None or self._data is None:
            return None
        table = self._earlier.sidecar.hashes
        if table.get(index) != hash_ or table.length(index) != length:
            return None
        data = self._data.read(index * self.chunk_bytes, length)
        if hashlib.sha256(data).digest() != hash_:
            raise DamageError(
                f"{MEMORY_NAME} of {self._earlier} does not have the hashes of {SIDECAR_NAME}"
            )
        return data

    def note(self, indexes: Sequence[int]) -> None:
        """The repository's index tells what is stored."""

    def sync(self) -> None:
        """Packs are on the disk when they are in the store."""

    def commit(self, sidecar: Sidecar) -> None:
        """Write what is left, and the snapshot object last.

        Raises:
            LockedError: our lock was lost meanwhile.
            DamageError: something that is needed is not in the store.
            StoreError: the store can't be used.
        """
        self._progress.step("committing")
        found = self.file.finish()
        pages = PageHash(page_bytes=self._writer.blob_size, sha256=found.content_sha256)
        memory = FileRecord(name=found.name, size=found.size, sha256=None, pages=pages)
        self._place.commit(self._writer, self._origin, memory, sidecar)

    def close(self) -> None:
        """The writer closes itself."""


def chunk_bytes(blob_size: int) -> int:
    """Bytes of a chunk in a repository with such blobs: a chunk consists of whole ones."""
    return CHUNK_BYTES // blob_size * blob_size


def earlier_copy(
    repository: Repository, what: StreamIdentity, progress: Progress
) -> BackupCopy | None:
    """The newest backup of the same memory whose chunks can be compared; under a lock.

    Raises:
        DamageError: an index object is damaged.
        StoreError: the repository can't be read.
    """
    size = chunk_bytes(repository.config.blob_size)
    for backup in reversed(Backups.read(repository, manifests=False).all):
        if (backup.canister_id, backup.kind, backup.stream) != (
            what.canister_id,
            KIND_STABLE,
            what.stream,
        ):
            continue
        try:
            tree = repository.tree(backup.snapshot.tree)
            record = read_manifest(repository, tree, str(backup))
            if record.identity.network_id != what.network_id:
                continue
            copy = BackupCopy.read(repository, replace(backup, record=record))
        except StoreError:
            raise
        except (DamageError, ProjectError) as error:
            progress.warn(f"{backup} can't be built upon: {error.message}.")
            continue
        identity, hashes = copy.sidecar.identity, copy.sidecar.hashes
        if hashes.chunk_size == size and identity.is_same_memory(what):
            return copy
    return None


def _sidecar(
    repository: Repository, backup: Backup, node: Node | None, record: BackupRecord
) -> Sidecar:
    """The sidecar in a backup, compared with its record.

    Raises:
        DamageError: it is not what was written.
    """
    told = next((each for each in record.files if each.name == SIDECAR_NAME), None)
    if node is None or told is None or node.size != told.size or node.size > _LARGEST_SIDECAR:
        raise DamageError(f"{backup} lacks {SIDECAR_NAME}, or it has the wrong size")
    text = repository.reader().read_range(node, 0, node.size)
    if hashlib.sha256(text).hexdigest() != told.sha256:
        raise DamageError(f"{SIDECAR_NAME} of {backup} is not the one its manifest speaks of")
    return Sidecar.from_json(text, Path(f"{SIDECAR_NAME} of {backup}"))


def _details(origin: Origin, sidecar: Sidecar, backup_id: str) -> BackupDetails:
    proven = sidecar.moment is not Moment.UNPROVEN
    return BackupDetails(
        backup_id=backup_id,
        network_name=origin.network.name,
        taken_at_ns=round(sidecar.created_at * 1e9),
        consistency=Consistency.LIVE if proven else Consistency.UNVERIFIED,
        kind=KIND_STABLE,
        canister_name=origin.canister.name,
        canister_version=None if sidecar.versions is None else sidecar.versions[1],
        level=0 if sidecar.certified is Certified.UNCERTIFIED else 1,
        driver=origin.driver,
        outage_s=0.0,
        cycles_estimate=origin.cycles,
        stable=StableDetails.of(sidecar),
    )
