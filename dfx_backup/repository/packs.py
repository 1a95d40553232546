"""Pack objects: sealed blobs one after the other, then a sealed header that lists them.

restic's doc/design.rst, "Pack Format". Lengths are little-endian 32-bit numbers.
"""

import hashlib
import mmap
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from dfx_backup.errors import DamageError
from dfx_backup.repository.layout import BlobKind, ObjectKind, object_name
from dfx_backup.repository.sealing import SEAL_BYTES, Sealer
from dfx_backup.repository.store import Buffer, ObjectStore

PACK_BYTES = 16 << 20
"""A pack that has reached this size is written."""
LARGEST_HEADER_BYTES = 16 << 20
"""restic reads no larger header."""
_MOST_BLOBS = 50_000
"""Blobs of a pack: an index object holds no more."""

_LARGE_BYTES = 1 << 20
"""Pieces from this size on are not copied."""
BUFFER_BYTES = PACK_BYTES + _LARGE_BYTES
"""Room for the small blobs of a pack, the last one included."""

_PLAIN = struct.Struct("<BI32s")
_COMPRESSED = struct.Struct("<BII32s")
_LENGTH = struct.Struct("<I")
_TREE_BIT = 1
_COMPRESSED_BIT = 2


class PackedBlob(NamedTuple):
    """Where a blob lies in a pack.

    Attributes:
        blob_id: SHA-256 of its content, 32 bytes.
        kind: what it holds.
        offset: first byte in the pack.
        length: sealed bytes.
        raw_length: bytes of its content.
        compressed: whether the content was compressed before it was sealed.
    """

    blob_id: bytes
    kind: BlobKind
    offset: int
    length: int
    raw_length: int
    compressed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedPack:
    """A pack that is ready to be written.

    Attributes:
        pack_id: hexadecimal SHA-256 of the object.
        pieces: the object.
        size: its bytes.
        header: plain text of its header, see `decode_header`.
    """

    pack_id: str
    pieces: list[Buffer]
    size: int
    header: bytes

    @property
    def name(self) -> str:
        """Name of the object."""
        return object_name(ObjectKind.DATA, self.pack_id)

    @property
    def blobs(self) -> Iterator[PackedBlob]:
        """What is in it, rising by offset."""
        return decode_header(self.header, self.name)


class PackBuilder:
    """Gathers sealed blobs of one kind; not safe to use from several threads.

    Args:
        make_buffer: gives `BUFFER_BYTES` when the first blob comes, perhaps those of a pack before.

    Attributes:
        buffer: what a later pack may use when this one is written, if any was needed.
        size: bytes of the blobs so far.
    """

    def __init__(self, make_buffer: Callable[[], memoryview] | None = None) -> None:
        # Small blobs are copied together: thousands of them would leave the memory in crumbs.
        self.buffer: memoryview | None = None
        self._make_buffer = make_buffer or new_buffer
        self.size = 0
        self._begin = self._end = 0
        self._pieces: list[Buffer] = []
        self._blobs: list[PackedBlob] = []

    def __len__(self) -> int:
        return len(self._blobs)

    @property
    def full(self) -> bool:
        """Whether it is time to write the pack."""
        return self.size >= PACK_BYTES or len(self._blobs) >= _MOST_BLOBS

    def add(
        self,
        kind: BlobKind,
        blob_id: bytes,
        pieces: Iterable[Buffer],
        *,
        raw_length: int,
        compressed: bool,
    ) -> None:
        """Append a sealed blob, which may come in pieces."""
        before = self.size
        for piece in pieces:
            self._append(piece)
        length = self.size - before
        self._blobs.append(PackedBlob(blob_id, kind, before, length, raw_length, compressed))

    def finish(self, sealer: Sealer) -> FinishedPack:
        """The whole pack, with its header and its name; its pieces use the buffer."""
        self._close_run()
        plain = encode_header(self._blobs)
        header = sealer.seal(plain)
        pieces: list[Buffer] = [*self._pieces, header, _LENGTH.pack(len(header))]
        digest = hashlib.sha256()
        for piece in pieces:
            digest.update(piece)
        return FinishedPack(
            pack_id=digest.hexdigest(),
            pieces=pieces,
            size=self.size + len(header) + _LENGTH.size,
            header=plain,
        )

    def _append(self, piece: Buffer) -> None:
        if self.buffer is None:
            self.buffer = self._make_buffer()
        end = self._end + len(piece)
        if len(piece) < _LARGE_BYTES and end <= len(self.buffer):
            self.buffer[self._end : end] = piece
            self._end = end
        else:
            self._close_run()
            self._pieces.append(piece)
        self.size += len(piece)

    def _close_run(self) -> None:
        if self.buffer is not None and self._end > self._begin:
            self._pieces.append(self.buffer[self._begin : self._end])
            self._begin = self._end


def new_buffer() -> memoryview:
    """Room for a pack that costs nothing before it is used."""
    return memoryview(mmap.mmap(-1, BUFFER_BYTES))


def encode_header(blobs: Iterable[PackedBlob]) -> bytes:
    """The header's plain text; the blobs follow each other without a gap."""
    parts = []
    for blob in blobs:
        bits = _TREE_BIT if blob.kind is BlobKind.TREE else 0
        if blob.compressed:
            bits |= _COMPRESSED_BIT
            parts.append(_COMPRESSED.pack(bits, blob.length, blob.raw_length, blob.blob_id))
        else:
            parts.append(_PLAIN.pack(bits, blob.length, blob.blob_id))
    return b"".join(parts)


def header_bytes(blobs: int, compressed: int) -> int:
    """Bytes of a pack behind its blobs: the sealed header and its length.

    Args:
        blobs: how many it holds.
        compressed: how many of them are compressed.
    """
    plain = (blobs - compressed) * _PLAIN.size + compressed * _COMPRESSED.size
    return plain + SEAL_BYTES + _LENGTH.size


def decode_header(header: bytes, what: str) -> Iterator[PackedBlob]:
    """The blobs of a pack, from the plain text of its header.

    Raises:
        DamageError: that is no header.
    """
    at = offset = 0
    while at < len(header):
        bits = header[at]
        form = _COMPRESSED if bits & _COMPRESSED_BIT else _PLAIN
        if bits > (_TREE_BIT | _COMPRESSED_BIT) or at + form.size > len(header):
            raise DamageError(f"the header of {what} is damaged")
        if form is _COMPRESSED:
            _, length, raw_length, blob_id = _COMPRESSED.unpack_from(header, at)
        else:
            _, length, blob_id = _PLAIN.unpack_from(header, at)
            raw_length = length - SEAL_BYTES
        if raw_length < 0 or length < SEAL_BYTES:
            raise DamageError(f"the header of {what} is damaged")
        kind = BlobKind.TREE if bits & _TREE_BIT else BlobKind.DATA
        yield PackedBlob(blob_id, kind, offset, length, raw_length, form is _COMPRESSED)
        at += form.size
        offset += length


def read_pack_header(
    store: ObjectStore, sealer: Sealer, pack_id: str, size: int
) -> tuple[PackedBlob, ...]:
    """What a pack holds, by its own header.

    Args:
        store: where it lies.
        sealer: the repository's keys.
        pack_id: hexadecimal id.
        size: bytes of the object.

    Raises:
        MissingObjectError: it is gone.
        DamageError: it is no pack, or its header does not fit its size.
    """
    name = object_name(ObjectKind.DATA, pack_id)
    if size < _LENGTH.size + SEAL_BYTES:
        raise DamageError(f"{name} is damaged: it is too short")
    (length,) = _LENGTH.unpack(store.get_range(name, size - _LENGTH.size, _LENGTH.size))
    if not SEAL_BYTES <= length <= min(size - _LENGTH.size, LARGEST_HEADER_BYTES):
        raise DamageError(f"the header of {name} is damaged: it has {length} bytes")
    sealed = store.get_range(name, size - _LENGTH.size - length, length)
    blobs = tuple(decode_header(sealer.unseal(sealed, f"the header of {name}"), name))
    end = blobs[-1].offset + blobs[-1].length if blobs else 0
    if end != size - _LENGTH.size - length:
        raise DamageError(f"the header of {name} is damaged: it does not fit the pack")
    return blobs
