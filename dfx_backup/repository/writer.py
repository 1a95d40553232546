"""Writes one backup: lock, blobs, index, fence, and the snapshot object that makes it one."""

import hashlib
import os
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from dfx_backup.errors import BackupError, DamageError
from dfx_backup.progress import Progress
from dfx_backup.repository.contents import ContentTable
from dfx_backup.repository.file_writer import FileRecord, FileWriter
from dfx_backup.repository.layout import BlobKind, ObjectKind, list_objects, object_name
from dfx_backup.repository.loose_file import LooseFile
from dfx_backup.repository.pack_writer import PackTotals, PackWriter
from dfx_backup.repository.repository import Repository
from dfx_backup.repository.snapshots import SnapshotFields
from dfx_backup.repository.trees import DIRECTORY_MODE, FILE_MODE, Node, Owner, encode_tree

_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})*")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupMeta:
    """What a snapshot object tells about a backup.

    Attributes:
        hostname: where its content is from.
        paths: what its content is.
        time: seconds since the epoch; also that of its files.
        tags: words for people and programs.
        username: who made it; empty takes that of the machine.
        program_version: what made it.
        parent: hexadecimal id of the snapshot object before it, or None.
    """

    hostname: str
    paths: tuple[str, ...]
    time: float
    tags: tuple[str, ...] = ()
    username: str = ""
    program_version: str = ""
    parent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteStats:
    """What a backup took.

    Attributes:
        raw_bytes: bytes of its files.
        new_bytes: bytes of blobs that were not stored before, trees included.
        stored_bytes: bytes of all objects that were written.
        new_blobs: blobs that were not stored before.
        packs: packs that were written.
    """

    raw_bytes: int
    new_bytes: int
    stored_bytes: int
    new_blobs: int
    packs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A backup that is in the repository.

    Attributes:
        snapshot_id: hexadecimal id of its snapshot object.
        tree: blob id of its directory, 32 bytes.
        stats: what it took.
    """

    snapshot_id: str
    tree: bytes
    stats: WriteStats


class Writer:
    """Writes one backup, for a `with` block; made by `Repository.writer`.

    It holds a shared lock. When the block ends without a commit, nothing is to be seen of it but
    blobs that the next run finds.

    Args:
        repository: where to.
        progress: hears of stale locks that are removed, and of waiting.
        wait_s: seconds to wait for somebody who works alone.
        workers: threads that hash, compress and seal.
    """

    def __init__(
        self, repository: Repository, *, progress: Progress, wait_s: float, workers: int
    ) -> None:
        self._repository = repository
        self._lock = repository.lock(exclusive=False, progress=progress, wait_s=wait_s)
        self._workers = workers
        self._stack = ExitStack()
        self._files: dict[str, FileWriter] = {}
        self._loose: list[LooseFile] = []
        self._small: dict[str, ContentTable] = {}
        self._sizes: dict[str, int] = {}

    def __enter__(self) -> Self:
        """Lock the repository and learn what is in it.

        Raises:
            LockedError: somebody works on it alone.
            DamageError: an index object is damaged.
            StoreError: the store can't be used.
        """
        with ExitStack() as stack:
            stack.enter_context(self._lock)
            # Somebody may have pruned before we had the lock.
            self._repository.reload_index()
            self._packs = PackWriter(self._repository)
            stack.callback(self._packs.close)
            self._jobs = ThreadPoolExecutor(self._workers, thread_name_prefix="page")
            stack.callback(self._jobs.shutdown, wait=True, cancel_futures=True)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End threads, list what was stored, and unlock."""
        for file in self._files.values():
            file.abort()
        self._jobs.shutdown(wait=True, cancel_futures=True)
        self._packs.close()
        if kind is not None:
            # Nobody may build upon blobs in memory that perhaps no index object lists.
            self._repository.drop_index()
        try:
            # So that the next run finds what this one stored.
            self._packs.write_index()
        except BaseException as failure:
            self._repository.drop_index()
            if not isinstance(failure, BackupError):
                raise
        finally:
            self._stack.__exit__(kind, error, trace)

    @property
    def totals(self) -> PackTotals:
        """What was stored so far; complete as to files that are finished."""
        return self._packs.totals

    @property
    def blob_size(self) -> int:
        """Bytes of a blob that does not end a file."""
        return self._repository.config.blob_size

    def file(self, name: str, size: int, *, whole_hash: bool = True) -> FileWriter:
        """Begin a file.

        Args:
            name: "file" or "directory/file": letters, digits, "_", "-" and ".".
            size: its bytes.
            whole_hash: whether to make a hash of the whole file beside those of its blobs; it takes
                as long as hashing the blobs.

        Raises:
            ValueError: the name is none, or came before.
        """
        self._enter_name(name, size)
        file = FileWriter(
            self._repository,
            self._packs,
            self._jobs,
            name=name,
            size=size,
            whole_hash=whole_hash,
        )
        self._files[name] = file
        return file

    def loose_file(self, name: str) -> LooseFile:
        """Begin a file that is empty now; its parts are stored by whoever brings them.

        Raises:
            ValueError: the name is none, or came before.
        """
        self._enter_name(name, 0)
        file = LooseFile(self._packs, name=name, blob_size=self.blob_size)
        self._loose.append(file)
        return file

    def add(self, name: str, data: bytes) -> FileRecord:
        """Write a small file at once.

        Raises:
            ValueError: the name is none, or came before.
            StoreError: an upload failed.
        """
        self._enter_name(name, len(data))
        step = self._repository.config.blob_size
        content = ContentTable(-(-len(data) // step), bytes(32))
        for place, start in enumerate(range(0, len(data), step)):
            content[place] = self._packs.store_blob(BlobKind.DATA, data[start : start + step])
        self._small[name] = content
        return FileRecord(
            name=name,
            size=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            content_sha256=content.sha256(),
        )

    def add_file(self, name: str, path: Path, *, whole_hash: bool = True) -> FileRecord:
        """Copy a file from the disk; its holes are not read.

        Args:
            name: see `file`.
            path: the file.
            whole_hash: see `file`.

        Raises:
            OSError: it can't be read.
            StoreError: an upload failed.
        """
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(handle).st_size
            file = self.file(name, size, whole_hash=whole_hash)
            file.copy(handle)
            return file.finish()
        finally:
            os.close(handle)

    def commit(self, meta: BackupMeta, extra: Mapping[str, bytes] | None = None) -> Commit:
        """Make what was written a backup.

        Args:
            meta: what the snapshot object tells.
            extra: small files that are added first.

        Raises:
            ValueError: a file is not finished.
            LockedError: our lock was lost meanwhile.
            DamageError: a blob or a pack that is needed is not in the store.
            StoreError: the store can't be used.
        """
        files: list[FileWriter | LooseFile] = [*self._files.values(), *self._loose]
        for file in files:
            if not file.finished:
                raise ValueError(f"{file.name} is not finished")
        for name, data in (extra or {}).items():
            self.add(name, data)
        self._sizes |= {each.name: each.size for each in self._loose}
        tree = self._store_trees(meta)
        self._packs.flush()
        self._fence()
        machine = self._repository.machine
        snapshot_id, size = self._repository.save_snapshot(
            SnapshotFields(
                time=meta.time,
                tree=tree,
                hostname=meta.hostname,
                paths=meta.paths,
                tags=meta.tags,
                username=meta.username or machine.username,
                program_version=meta.program_version,
                parent=meta.parent,
            )
        )
        totals = self._packs.totals
        stats = WriteStats(
            raw_bytes=sum(self._sizes.values()),
            new_bytes=totals.new_raw_bytes,
            stored_bytes=totals.stored_bytes + size,
            new_blobs=totals.new_blobs,
            packs=totals.packs,
        )
        return Commit(snapshot_id=snapshot_id, tree=tree, stats=stats)

    def _enter_name(self, name: str, size: int) -> None:
        if _NAME.fullmatch(name) is None or name in self._sizes:
            raise ValueError(f"{name!r} is no name for another file")
        self._sizes[name] = size

    def _store_trees(self, meta: BackupMeta) -> bytes:
        contents = {name: file.content for name, file in self._files.items()} | self._small
        contents |= {file.name: file.content for file in self._loose}
        return self._store_tree("", contents, meta)

    def _store_tree(
        self, prefix: str, contents: dict[str, ContentTable], meta: BackupMeta
    ) -> bytes:
        """Store the tree of the names that begin with `prefix`, those below it first."""
        below: dict[str, dict[str, ContentTable]] = {}
        nodes = []
        for name, content in contents.items():
            head, slash, _ = name.removeprefix(prefix).partition("/")
            if slash:
                below.setdefault(head, {})[name] = content
                continue
            nodes.append(
                Node(
                    name=head,
                    type="file",
                    mode=FILE_MODE,
                    mtime=meta.time,
                    size=self._sizes[name],
                    content=content,
                )
            )
        for head, inner in below.items():
            subtree = self._store_tree(f"{prefix}{head}/", inner, meta)
            nodes.append(
                Node(name=head, type="dir", mode=DIRECTORY_MODE, mtime=meta.time, subtree=subtree)
            )
        nodes.sort(key=lambda node: node.name)
        machine = self._repository.machine
        owner = Owner(user=machine.username, uid=machine.uid, gid=machine.gid)
        return self._packs.store_stream(BlobKind.TREE, encode_tree(nodes, owner))

    def _fence(self) -> None:
        """The last look before the snapshot object.

        Raises:
            LockedError: our lock was lost meanwhile.
            DamageError: a pack that is needed is not in the store, or not whole.
        """
        # The listing takes long in a large store, so the lock is looked at after it.
        store = self._repository.store
        listed = {pack_id: info.size for pack_id, info in list_objects(store, ObjectKind.DATA)}
        wrong = [
            (object_name(ObjectKind.DATA, pack_id), listed.get(pack_id))
            for pack_id, size in self._packs.used_packs.items()
            if listed.get(pack_id) != size
        ]
        if wrong:
            name, size = min(wrong)
            more = f", and {len(wrong) - 1} packs more are wrong" if len(wrong) > 1 else ""
            state = "is missing" if size is None else f"has {size} bytes, which is wrong,"
            raise DamageError(
                f"{name} {state} in {store.describe()}{more}",
                hint="what this backup needs was removed or cut off: `verify` tells which backups"
                " are hit; nothing was committed",
            )
        self._lock.ensure()
