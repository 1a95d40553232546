"""Where every blob lies: a hash table in flat arrays, about 60 bytes a blob.

A dictionary would need four times as much, and a repository of one large canister has millions of
blobs. Ids are SHA-256, so their own bytes serve as the hash.
"""

import struct
import threading
from array import array
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from dfx_backup.repository.index_object import IndexedPack
from dfx_backup.repository.layout import ID_BYTES, BlobKind
from dfx_backup.repository.packs import PackedBlob, header_bytes

_RECORD = struct.Struct("<32sIIII")
_HASH = struct.Struct("<Q")
_PLACE = struct.Struct("<IIII")
_WORD = struct.Struct("<I")
_TREE_BIT = 1 << 31
_COMPRESSED_BIT = 1 << 30
_PACK_MASK = _COMPRESSED_BIT - 1
_FIRST_SLOTS = 1 << 12


class BlobPlace(NamedTuple):
    """Where a blob lies.

    Attributes:
        pack: number of the pack in this index, see `BlobIndex.pack_id`.
        offset: first byte in the pack.
        length: sealed bytes.
        raw_length: bytes of its content.
        compressed: whether the content was compressed before it was sealed.
    """

    pack: int
    offset: int
    length: int
    raw_length: int
    compressed: bool


class BlobIndex:
    """All blobs that index objects list; the first place of a blob that is in several packs.

    One thread may add while others look up.
    """

    def __init__(self) -> None:
        self._records = bytearray()
        # Slots and mask change together, so that a reader always sees two that fit.
        self._table = (array("I", bytes(4 * _FIRST_SLOTS)), _FIRST_SLOTS - 1)
        self._pack_ids: list[str] = []
        self._pack_ends = array("Q")
        self._pack_sizes = array("Q")
        self._numbers: dict[str, int] = {}
        self._adding = threading.Lock()

    def __len__(self) -> int:
        return len(self._records) // _RECORD.size

    def find(self, kind: BlobKind, blob_id: bytes) -> BlobPlace | None:
        """Where a blob lies, or None."""
        number = self.number(kind, blob_id)
        return None if number is None else self.place(number)

    def number(self, kind: BlobKind, blob_id: bytes) -> int | None:
        """Number of a blob, in the order in which they were entered, or None."""
        slots, mask = self._table
        entry = slots[self._slot(slots, mask, kind, blob_id)]
        return entry - 1 if entry else None

    def place(self, number: int) -> BlobPlace:
        """Where the blob of that number lies."""
        at = number * _RECORD.size + ID_BYTES
        word, offset, length, raw = _PLACE.unpack_from(self._records, at)
        return BlobPlace(word & _PACK_MASK, offset, length, raw, word & _COMPRESSED_BIT != 0)

    def pack_of(self, kind: BlobKind, blob_id: bytes) -> int | None:
        """Number of the pack in which a blob lies, or None; quicker than `find`."""
        number = self.number(kind, blob_id)
        if number is None:
            return None
        word: int = _WORD.unpack_from(self._records, number * _RECORD.size + ID_BYTES)[0]
        return word & _PACK_MASK

    def add_pack(self, pack_id: str, blobs: Iterable[PackedBlob]) -> int:
        """Enter a pack and its blobs; the pack's number."""
        with self._adding:
            number = self._numbers.get(pack_id)
            if number is None:
                number = self._numbers[pack_id] = len(self._pack_ids)
                self._pack_ids.append(pack_id)
                self._pack_ends.append(0)
                self._pack_sizes.append(0)
            end, count, compressed = self.pack_end(number), 0, 0
            for blob in blobs:
                end = max(end, blob.offset + blob.length)
                count += 1
                compressed += blob.compressed
                self._add(number, blob)
            self._pack_ends[number] = end
            self._pack_sizes[number] = end + header_bytes(count, compressed)
        return number

    def add_packs(self, packs: Iterable[IndexedPack]) -> None:
        """Enter what an index object lists."""
        for pack in packs:
            self.add_pack(pack.pack_id, pack.blobs)

    def pack_id(self, number: int) -> str:
        """Hexadecimal id of a pack."""
        return self._pack_ids[number]

    def pack_end(self, number: int) -> int:
        """Bytes of a pack up to the end of its last blob."""
        return int(self._pack_ends[number])

    def pack_size(self, number: int) -> int:
        """Bytes that the object of a pack must have, its header included."""
        return int(self._pack_sizes[number])

    def pack_number(self, pack_id: str) -> int | None:
        """Number of a pack, or None when no index object lists it."""
        return self._numbers.get(pack_id)

    @property
    def pack_ids(self) -> tuple[str, ...]:
        """Every pack, by number."""
        return tuple(self._pack_ids)

    def entries(self) -> Iterator[tuple[BlobKind, bytes, BlobPlace]]:
        """Every blob, in the order in which they were entered."""
        records = self._records
        for at in range(0, len(records), _RECORD.size):
            blob_id, word, offset, length, raw = _RECORD.unpack_from(records, at)
            kind = BlobKind.TREE if word & _TREE_BIT else BlobKind.DATA
            compressed = word & _COMPRESSED_BIT != 0
            yield kind, blob_id, BlobPlace(word & _PACK_MASK, offset, length, raw, compressed)

    def _slot(self, slots: "array[int]", mask: int, kind: BlobKind, blob_id: bytes) -> int:
        """The slot of a blob, or the free one where it belongs."""
        records, size = self._records, _RECORD.size
        slot: int = _HASH.unpack_from(blob_id)[0] & mask
        while entry := slots[slot]:
            at = (entry - 1) * size
            if records.startswith(blob_id, at):
                (word,) = _WORD.unpack_from(records, at + ID_BYTES)
                if (word & _TREE_BIT != 0) == (kind is BlobKind.TREE):
                    return slot
            slot = (slot + 1) & mask
        return slot

    def _add(self, number: int, blob: PackedBlob) -> None:
        slots, mask = self._table
        entry = len(self._records) // _RECORD.size + 1
        if 3 * entry > 2 * len(slots):
            self._grow()
            slots, mask = self._table
        blob_id, kind, offset, length, raw_length, compressed = blob
        slot = self._slot(slots, mask, kind, blob_id)
        if slots[slot]:
            return  # the first place of a blob is the one that counts
        word = number
        if kind is BlobKind.TREE:
            word |= _TREE_BIT
        if compressed:
            word |= _COMPRESSED_BIT
        # The record comes before the slot that points to it: readers do not wait for us.
        self._records += _RECORD.pack(blob_id, word, offset, length, raw_length)
        slots[slot] = entry

    def _grow(self) -> None:
        count = 2 * len(self._table[0])
        slots, mask = array("I", bytes(4 * count)), count - 1
        records, size = self._records, _RECORD.size
        for entry in range(1, len(self) + 1):
            slot = _HASH.unpack_from(records, (entry - 1) * size)[0] & mask
            while slots[slot]:
                slot = (slot + 1) & mask
            slots[slot] = entry
        self._table = (slots, mask)
