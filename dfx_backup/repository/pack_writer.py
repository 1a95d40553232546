"""Writes blobs: packs them, uploads packs beside the work, and lists them in index objects.

The order is that of restic's doc/design.rst, "Read and Write Ordering": a pack is in the store
before an index object lists it. Index objects come early, so that a run that fails can be repeated
without storing everything again.
"""

import hashlib
import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from dfx_backup.errors import DamageError
from dfx_backup.repository.compression import StreamCompressor, compress
from dfx_backup.repository.index_object import MOST_BLOBS, encode_index
from dfx_backup.repository.layout import BlobKind, ObjectKind
from dfx_backup.repository.packs import FinishedPack, PackBuilder, decode_header, new_buffer
from dfx_backup.repository.repository import Repository
from dfx_backup.repository.store import Buffer

INDEX_EVERY_BYTES = 2 << 30
INDEX_EVERY_S = 600.0
_UPLOADS = 2


@dataclass(slots=True, kw_only=True)
class PackTotals:
    """What a `PackWriter` has written so far.

    Attributes:
        new_blobs: blobs.
        new_raw_bytes: bytes of their content.
        new_sealed_bytes: bytes of them in packs, compressed and encrypted.
        stored_bytes: bytes of packs and index objects.
        packs: packs.
    """

    new_blobs: int = 0
    new_raw_bytes: int = 0
    new_sealed_bytes: int = 0
    stored_bytes: int = 0
    packs: int = 0


class PackWriter:
    """Packs and stores blobs; safe to use from several threads.

    An error of an upload is raised by the next call, and by every call from then on.

    Args:
        repository: where to; its index must be up to date, and a lock held.
        uploads: packs that are written at the same time.

    Attributes:
        totals: what was written.
    """

    def __init__(self, repository: Repository, *, uploads: int = _UPLOADS) -> None:
        self.totals = PackTotals()
        self._repository = repository
        self._index = repository.index
        self._machine = repository.machine
        self._lock = threading.Lock()
        self._indexing = threading.Lock()
        self._buffers: list[memoryview] = []
        self._builders = {kind: PackBuilder(self._new_buffer) for kind in BlobKind}
        self._claimed: set[tuple[BlobKind, bytes]] = set()
        self._used: set[int] = set()
        self._slots = threading.Semaphore(uploads)
        self._pool = ThreadPoolExecutor(uploads, thread_name_prefix="pack")
        self._running: set[Future[None]] = set()
        self._failure: BaseException | None = None
        self._unlisted: list[tuple[str, bytes]] = []
        self._unlisted_blobs = self._unlisted_bytes = 0
        self._listed_at = self._machine.monotonic()

    @property
    def used_packs(self) -> dict[str, int]:
        """Every pack that holds a blob which was claimed or added here, and its bytes.

        Complete after `flush`.
        """
        index = self._index
        return {index.pack_id(number): index.pack_size(number) for number in self._used}

    def claim(self, kind: BlobKind, blob_id: bytes) -> bool:
        """Whether the caller must add this blob now; else it is stored or somebody adds it."""
        pack = self._index.pack_of(kind, blob_id)
        if pack is not None:
            self._used.add(pack)
            return False
        key = (kind, blob_id)
        with self._lock:
            if key in self._claimed:
                return False
            # An upload may have moved it from the claimed ones to the index since we looked.
            pack = self._index.pack_of(kind, blob_id)
            if pack is not None:
                self._used.add(pack)
                return False
            self._claimed.add(key)
        return True

    def add_blob(self, kind: BlobKind, blob_id: bytes, data: Buffer) -> None:
        """Compress, seal and add a blob that was claimed."""
        packed: Buffer = compress(data)
        compressed = len(packed) < len(data)
        sealed = self._repository.sealer.seal(packed if compressed else data)
        self.add_sealed(kind, blob_id, [sealed], raw_length=len(data), compressed=compressed)

    def store_blob(self, kind: BlobKind, data: Buffer) -> bytes:
        """Store a blob unless it is stored; its id."""
        blob_id = hashlib.sha256(data).digest()
        if self.claim(kind, blob_id):
            self.add_blob(kind, blob_id, data)
        return blob_id

    def store_stream(self, kind: BlobKind, pieces: Iterable[bytes]) -> bytes:
        """Store a blob that comes in pieces, of which no more is kept than what is compressed."""
        packed: list[bytearray] = []
        compressor, digest, size = StreamCompressor(packed.append), hashlib.sha256(), 0
        for piece in pieces:
            digest.update(piece)
            compressor.feed(piece)
            size += len(piece)
        compressor.finish()
        blob_id = digest.digest()
        if self.claim(kind, blob_id):
            sealed = self._repository.sealer.seal_pieces(packed)
            self.add_sealed(kind, blob_id, sealed, raw_length=size, compressed=True)
        return blob_id

    def add_sealed(
        self,
        kind: BlobKind,
        blob_id: bytes,
        pieces: Iterable[Buffer],
        *,
        raw_length: int,
        compressed: bool,
    ) -> None:
        """Add a blob that is sealed already; waits while too many packs are on their way."""
        full = None
        with self._lock:
            self._raise_failure()
            builder = self._builders[kind]
            before = builder.size
            builder.add(kind, blob_id, pieces, raw_length=raw_length, compressed=compressed)
            self.totals.new_blobs += 1
            self.totals.new_raw_bytes += raw_length
            self.totals.new_sealed_bytes += builder.size - before
            if builder.full:
                full, self._builders[kind] = builder, PackBuilder(self._new_buffer)
        if full is not None:
            self._upload(full)

    def write_packs(self) -> None:
        """Write what has been added; afterwards all of it can be read again.

        Raises:
            StoreError: the store can't be used.
        """
        with self._lock:
            builders = [builder for builder in self._builders.values() if len(builder)]
            self._builders = {kind: PackBuilder(self._new_buffer) for kind in BlobKind}
        for builder in builders:
            self._upload(builder)
        while True:
            with self._lock:
                self._raise_failure()
                running = next(iter(self._running), None)
            if running is None:
                return
            wait([running])

    def flush(self) -> None:
        """Write what has been added, and list it in an index object; nobody may add meanwhile.

        Raises:
            DamageError: a blob was claimed, and never came into a pack.
            StoreError: the store can't be used.
        """
        self.write_packs()
        if self._claimed:
            raise DamageError(
                f"{len(self._claimed)} blobs were lost on their way into a pack",
                hint="nothing was committed; run it again",
            )
        self.write_index()

    def write_index(self) -> None:
        """List the packs that are in the store and in no index object yet."""
        with self._indexing:
            with self._lock:
                packs, self._unlisted = self._unlisted, []
                self._unlisted_blobs = self._unlisted_bytes = 0
                self._listed_at = self._machine.monotonic()
            if not packs:
                return
            try:
                text = encode_index(
                    (pack_id, decode_header(head, pack_id)) for pack_id, head in packs
                )
                index_id, size = self._repository.save_sealed(ObjectKind.INDEX, text)
            except BaseException:
                with self._lock:
                    self._unlisted = packs + self._unlisted
                raise
            self._repository.note_index(index_id)
        with self._lock:
            self.totals.stored_bytes += size

    def close(self) -> None:
        """Wait for uploads and end the threads; what was not flushed is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _new_buffer(self) -> memoryview:
        return self._buffers.pop() if self._buffers else new_buffer()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _upload(self, builder: PackBuilder) -> None:
        # Waiting here bounds the memory: the caller adds nothing meanwhile.
        self._slots.acquire()
        try:
            with self._lock:
                self._raise_failure()
                future = self._pool.submit(self._put, builder)
                self._running.add(future)
        except BaseException:
            self._slots.release()
            raise
        future.add_done_callback(self._done)

    def _done(self, future: Future[None]) -> None:
        with self._lock:
            self._running.discard(future)
            if not future.cancelled():
                self._failure = self._failure or future.exception()
        self._slots.release()

    def _put(self, builder: PackBuilder) -> None:
        pack = builder.finish(self._repository.sealer)
        self._repository.store.put(pack.name, pack.pieces)
        if builder.buffer is not None:
            with self._lock:
                self._buffers.append(builder.buffer)
        if self._enter(pack):
            self.write_index()

    def _enter(self, pack: FinishedPack) -> bool:
        """Enter a stored pack into the index in memory; whether an index object is due."""
        number = self._index.add_pack(pack.pack_id, pack.blobs)
        self._used.add(number)
        with self._lock:
            count = 0
            for blob in pack.blobs:
                self._claimed.discard((blob.kind, blob.blob_id))
                count += 1
            self.totals.packs += 1
            self.totals.stored_bytes += pack.size
            self._unlisted.append((pack.pack_id, pack.header))
            self._unlisted_blobs += count
            self._unlisted_bytes += pack.size
            age = self._machine.monotonic() - self._listed_at
            # The next pack may bring as many blobs as this one.
            return (
                self._unlisted_blobs + count > MOST_BLOBS
                or self._unlisted_bytes >= INDEX_EVERY_BYTES
                or age >= INDEX_EVERY_S
            )
