"""The blobs of a file in their order: 32 bytes each, and next to nothing for long equal runs."""

import hashlib
import struct
import threading
from collections.abc import Container, Iterator

from dfx_backup.repository.layout import ID_BYTES

_GROUP = 1024
"""Ids that are kept together; groups that are equal throughout are kept once."""
_OPENING = threading.Lock()
"""Of two threads that set the first ids of a group, one makes it a group that can be changed."""
_IDS = struct.Struct(f"{ID_BYTES}s")
_PLACED = struct.Struct(f"{ID_BYTES}sQ")


class ContentTable:
    """Ids of a file's blobs. Threads may set different ones at the same time.

    Args:
        count: how many.
        fill: the id at every place that is not set.
    """

    def __init__(self, count: int, fill: bytes) -> None:
        self._count = count
        groups, rest = divmod(count, _GROUP)
        whole = fill * _GROUP if groups else b""
        self._groups: list[bytes | bytearray] = [whole] * groups
        if rest:
            self._groups.append(fill * rest)

    @classmethod
    def of_groups(cls, count: int, groups: list[bytes | bytearray]) -> "ContentTable":
        """A table of so many joined ids, in groups as this class keeps them."""
        table = cls(0, b"")
        table._count, table._groups = count, groups
        return table

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: int) -> bytes:
        if not 0 <= place < self._count:
            raise IndexError(place)
        group, at = divmod(place, _GROUP)
        return bytes(self._groups[group][at * ID_BYTES : (at + 1) * ID_BYTES])

    def __setitem__(self, place: int, blob_id: bytes) -> None:
        if not 0 <= place < self._count:
            raise IndexError(place)
        number, at = divmod(place, _GROUP)
        group = self._groups[number]
        if not isinstance(group, bytearray):
            with _OPENING:
                group = self._groups[number]
                if not isinstance(group, bytearray):
                    group = self._groups[number] = bytearray(group)
        group[at * ID_BYTES : (at + 1) * ID_BYTES] = blob_id

    def __iter__(self) -> Iterator[bytes]:
        for group in self._groups:
            for at in range(0, len(group), ID_BYTES):
                yield bytes(group[at : at + ID_BYTES])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ContentTable):
            return NotImplemented
        return self._groups == other._groups

    __hash__ = None  # type: ignore[assignment]  # it changes

    def tally(self, zeros: Container[bytes]) -> int:
        """The sum of `weight` over all places whose id is not one of `zeros`, the fill among them.

        Whoever sets the ids and adds the same up beside it finds out whether one was lost.
        """
        total, joined = 0, _PLACED.pack
        for number, group in enumerate(self._groups):
            # Nobody has set an id in a group that is still `bytes`.
            if isinstance(group, bytearray):
                first = number * _GROUP
                for place, (blob_id,) in enumerate(_IDS.iter_unpack(group), first):
                    if blob_id not in zeros:
                        total += hash(joined(blob_id, place))  # as `weight`, without the call
        return total

    def has(self, blob_id: bytes) -> bool:
        """Whether an id is among them."""
        previous: bytes | bytearray | None = None
        for group in self._groups:
            if group is previous:
                continue
            previous = group
            at = group.find(blob_id)
            while at >= 0:
                if at % ID_BYTES == 0:
                    return True
                at = group.find(blob_id, at + 1)
        return False

    def sha256(self) -> str:
        """Hexadecimal hash of all ids one after the other: as good as a hash of the file.

        A file of 512 GiB has 256 MiB of ids.
        """
        digest = hashlib.sha256()
        for group in self._groups:
            digest.update(group)
        return digest.hexdigest()

    def groups(self) -> Iterator[bytes | bytearray]:
        """The ids in large pieces, joined; equal neighbours may be the same object."""
        yield from self._groups

    def runs(self) -> Iterator[tuple[int, int, bytes]]:
        """First place, number and id of every run of equal ids."""
        first, count, current = 0, 0, b""
        previous: bytes | bytearray | None = None
        for group in self._groups:
            if group is previous and group == current * (len(group) // ID_BYTES):
                count += len(group) // ID_BYTES
                continue
            previous = group
            for at in range(0, len(group), ID_BYTES):
                blob_id = bytes(group[at : at + ID_BYTES])
                if blob_id == current:
                    count += 1
                    continue
                if count:
                    yield first, count, current
                first, count, current = first + count, 1, blob_id
        if count:
            yield first, count, current


def weight(place: int, blob_id: bytes) -> int:
    """A number that two different ids, or the same id at two places, share by chance alone.

    It is good for this process only. Sums of it do not depend on the order.
    """
    # Bytes are hashed with SipHash under the process's key. Hashes of tuples of numbers are nearly
    # sums themselves: then pages that changed places could cancel each other.
    return hash(_PLACED.pack(blob_id, place))


class ContentBuilder:
    """Gathers ids that come one after the other, in pieces of any size."""

    def __init__(self) -> None:
        self._open = bytearray()
        self._groups: list[bytes | bytearray] = []
        self._uniform = b""
        self._count = 0

    def feed(self, ids: bytes) -> None:
        """Take more ids, joined; whole ones."""
        self._open += ids
        size = _GROUP * ID_BYTES
        at = 0
        while len(self._open) - at >= size:
            self._close(bytes(self._open[at : at + size]))
            at += size
        del self._open[:at]

    def finish(self) -> ContentTable:
        """The table."""
        rest = bytes(self._open)
        count = len(self._groups) * _GROUP + len(rest) // ID_BYTES
        return ContentTable.of_groups(count, [*self._groups, rest] if rest else self._groups)

    def _close(self, group: bytes) -> None:
        if group == self._uniform:
            group = self._uniform
        elif group == group[:ID_BYTES] * _GROUP:
            self._uniform = group
        self._groups.append(group)
