"""The state directory: what survives the end of the process, and how.

Layout: `blobs/N` are heaps, stable memories and snapshots as sparse files; `objects/SHA256` are
modules and chunks, which never change; `state.cbor` holds all documents as of the last checkpoint;
`journal` what was committed since; `undo` the old bytes that the running transaction overwrote.

A commit appends one checksummed record (changed documents, heap pages) to the journal, and only
then writes the pages to their blobs. Blobs that are written in place (stable memory, snapshot
uploads) have the old bytes appended to `undo` first. So after a kill at any moment the journal's
complete records are written again, in order, and, when the last transaction has no record, its
overwritten bytes are put back. Nothing is flushed to the disk unless `is_synced`: the kernel keeps
what a killed process wrote, while a power cut may lose or damage the last moments.
"""

import fcntl
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cbor2

from dfx_backup.replica import codec
from dfx_backup.replica.calls import Origin
from dfx_backup.replica.host import Host
from dfx_backup.replica.memory import Blob, BlobStore, Writes, restore
from dfx_backup.replica.state import CanisterState

_HEADER = struct.Struct("<QI")  # length of the record's content, its CRC-32
_CHECKPOINT_BYTES = 16 << 20
_PIECE = 1 << 24
_VERSION = 1


class StateDirectory(BlobStore):
    """Blobs and documents in a directory, committed together.

    Attributes:
        documents: by name, as of the last commit.
        is_closed: nothing can be committed any more.
    """

    is_durable = True

    def __init__(self, path: Path, *, is_synced: bool = False) -> None:
        """Open or make the directory and repair what a killed process left.

        Raises:
            OSError: it can't be read or written, or another process holds it.
            ValueError: it was written by a version that this one can't read.
        """
        super().__init__()
        self._path = path
        self._is_synced = is_synced
        for name in ("blobs", "objects"):
            (path / name).mkdir(parents=True, exist_ok=True)
        self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise OSError(error.errno, f"another replica uses {path}") from error
        self.is_closed = False
        self._garbage: list[str] = []
        self._kept: set[bytes] = set()
        self._journal = _Log(path / "journal")
        self._undo = _Log(path / "undo")
        self.documents, self._sequence = self._read_checkpoint()
        self._recover()
        numbers = [int(each.name) for each in (path / "blobs").iterdir()]
        self._next_blob = max(numbers, default=0) + 1

    # Blobs

    def open_blob(self, name: str, size: int) -> Blob:
        """A committed blob by name, cut to its committed size.

        Raises:
            OSError: it is not there.
        """
        fd = os.open(self._path / "blobs" / name, os.O_RDWR | os.O_CLOEXEC)
        os.ftruncate(fd, size)
        return Blob(self, fd, name, committed=True)

    def note(self, blob: Blob, offset: int, old: bytes | int) -> None:
        """Write the old content down before it is overwritten."""
        self._undo.append(cbor2.dumps([self._sequence + 1, blob.name, offset, old]))

    def forget(self, name: str) -> None:
        """Remove the file at the next checkpoint, when no document names it any more."""
        if name:
            self._garbage.append(name)

    def _create(self) -> tuple[int, str]:
        name = str(self._next_blob)
        self._next_blob += 1
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return os.open(self._path / "blobs" / name, flags, 0o600), name

    # Objects

    def keep(self, objects: Iterable[tuple[bytes, bytes]]) -> None:
        """Keep immutable content by its SHA-256."""
        for digest, content in objects:
            if digest not in self._kept:
                self._replace_file(self._path / "objects" / digest.hex(), content)
                self._kept.add(digest)

    def read_object(self, digest: bytes) -> bytes:
        """Content that was kept.

        Raises:
            OSError: it is not there.
        """
        return (self._path / "objects" / digest.hex()).read_bytes()

    # Commits

    def commit(self, writes: Writes, documents: Mapping[str, bytes | None]) -> None:
        """Make pages and documents durable, all or nothing."""
        if writes or documents or self._dirty:
            self._sequence += 1
            self._append_record(writes, documents)
            for name, text in documents.items():
                if text is None:
                    self.documents.pop(name, None)
                else:
                    self.documents[name] = text
        super().commit(writes, documents)
        self._undo.clear()
        if self._journal.size > _CHECKPOINT_BYTES or len(self._garbage) > 8:
            self.checkpoint()

    def rollback(self, blob: Blob | None = None) -> None:
        """See `BlobStore.rollback`."""
        super().rollback(blob)
        if not self._dirty:
            self._undo.clear()

    def close(self) -> None:
        """Let go of the directory."""
        if not self.is_closed:
            self.is_closed = True
            self._journal.close()
            self._undo.close()
            os.close(self._lock)

    def collect(self, blobs: Iterable[str], objects: Iterable[bytes]) -> None:
        """Remove files that no document names: leftovers of a killed process."""
        kept = set(blobs)
        for path in (self._path / "blobs").iterdir():
            if path.name not in kept:
                path.unlink()
        named = {each.hex() for each in objects}
        for path in (self._path / "objects").iterdir():
            if path.name not in named:
                path.unlink()

    def _append_record(self, writes: Writes, documents: Mapping[str, bytes | None]) -> None:
        head = cbor2.dumps(
            [
                self._sequence,
                dict(documents),
                [[blob.name, offset, len(data)] for blob, offset, data in writes],
            ]
        )
        self._journal.append(
            len(head).to_bytes(8, "little"), head, *(data for _, _, data in writes)
        )
        if self._is_synced:
            self._journal.sync()

    def checkpoint(self) -> None:
        """Write all documents to one file, and start the journal anew."""
        content = cbor2.dumps([_VERSION, self._sequence, self.documents])
        self._replace_file(self._path / "state.cbor", content)
        self._journal.clear()
        garbage, self._garbage = self._garbage, []
        for name in garbage:
            (self._path / "blobs" / name).unlink(missing_ok=True)

    def _replace_file(self, path: Path, content: bytes) -> None:
        draft = path.with_name(path.name + ".new")
        with draft.open("wb") as file:
            file.write(content)
            if self._is_synced:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)

    # After a kill

    def _read_checkpoint(self) -> tuple[dict[str, bytes], int]:
        path = self._path / "state.cbor"
        if not path.exists():
            return {}, 0
        version, sequence, documents = cbor2.loads(path.read_bytes())
        if version != _VERSION:
            raise ValueError(f"{path} has format {version}, not {_VERSION}")
        return dict(documents), sequence

    def _recover(self) -> None:
        for record in self._journal.records():
            self._redo(record)
        undone = [cbor2.loads(record) for record in self._undo.records()]
        for sequence, name, offset, old in reversed(undone):
            if sequence > self._sequence:
                self._with_blob(name, lambda blob, o=offset, b=old: restore(blob, o, b))
        self._undo.clear()
        self.checkpoint()

    def _redo(self, record: bytes) -> None:
        start = 8 + int.from_bytes(record[:8], "little")
        sequence, documents, writes = cbor2.loads(record[8:start])
        view = memoryview(record)
        for name, offset, size in writes:
            data = view[start : start + size]
            self._with_blob(name, lambda blob, o=offset, d=data: blob.put(o, d))
            start += size
        if sequence <= self._sequence:
            return  # the checkpoint holds these documents, or newer ones
        self._sequence = sequence
        for name, text in documents.items():
            if text is None:
                self.documents.pop(name, None)
            else:
                self.documents[name] = text

    def _with_blob(self, name: str, action: Any) -> None:  # noqa: ANN401 - a local function
        path = self._path / "blobs" / name
        if path.exists():
            blob = Blob(BlobStore(), os.open(path, os.O_RDWR | os.O_CLOEXEC), "", committed=False)
            action(blob)


class _Log:
    """A file of checksummed records, appended to and emptied."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.size = os.fstat(self._fd).st_size

    def append(self, *parts: bytes | memoryview) -> None:
        """Add one record made of `parts`."""
        checksum = 0
        for part in parts:
            checksum = zlib.crc32(part, checksum)
        length = sum(len(part) for part in parts)
        pieces: list[bytes | memoryview] = [_HEADER.pack(length, checksum), *parts]
        if length < _PIECE:
            pieces = [b"".join(pieces)]
        for piece in pieces:
            view = memoryview(piece)
            while view:
                done = os.pwrite(self._fd, view[:_PIECE], self.size)
                self.size += done
                view = view[done:]

    def records(self) -> Iterator[bytes]:
        """Complete records, up to the first incomplete or damaged one."""
        position = 0
        while True:
            header = os.pread(self._fd, _HEADER.size, position)
            if len(header) < _HEADER.size:
                return
            length, checksum = _HEADER.unpack(header)
            position += _HEADER.size
            if position + length > self.size:
                return
            content = b"".join(
                os.pread(self._fd, min(_PIECE, position + length - start), start)
                for start in range(position, position + length, _PIECE)
            )
            if zlib.crc32(content) != checksum:
                return
            yield content
            position += length

    def clear(self) -> None:
        """Empty the file."""
        if self.size:
            os.ftruncate(self._fd, 0)
            self.size = 0

    def sync(self) -> None:
        """Flush to the disk."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def load_canisters(host: Host, directory: StateDirectory) -> None:
    """Bring back all canisters, the queue and the counters."""
    documents = directory.documents
    host.restore(documents)
    names: set[str] = set()
    digests: set[bytes] = set()
    for key in [name.removesuffix("/hot") for name in documents if name.endswith("/hot")]:
        parts = (documents[f"{key}/hot"], documents[f"{key}/cold"], documents[f"{key}/log"])
        canister, module = codec.read_canister(
            bytes.fromhex(key), parts, directory.open_blob, directory.read_object
        )
        if module is not None:
            canister.module = host.executor.describe(module)
        host.canisters[canister.canister_id] = canister
        for origin in _unanswered(canister):
            host.await_answer(origin)
        names.update(codec.blob_names(canister))
        digests.update(digest for digest, _ in codec.objects(canister))
    directory.collect(names, digests)
    if "numbers" in documents:
        host.set_numbers(*codec.read_numbers(documents["numbers"]))
        host.queue.extend(codec.read_queue(documents["queue"]))


def _unanswered(canister: CanisterState) -> Iterator[Origin]:
    yield from (each.origin for each in canister.contexts.values() if not each.responded)
    yield from (each.origin for each in canister.stop_waiters)
