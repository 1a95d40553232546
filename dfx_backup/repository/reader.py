"""Reads files of backups: blobs grouped by pack, near ones in one request, every one checked."""

import errno
import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from dfx_backup.errors import DamageError
from dfx_backup.repository.contents import ContentTable
from dfx_backup.repository.index import BlobPlace
from dfx_backup.repository.layout import BlobKind, ObjectKind, object_name
from dfx_backup.repository.repository import Repository
from dfx_backup.repository.trees import Node

_WINDOW = 1 << 15
"""Blobs that are planned together: 2 GiB of a file."""
_GAP_BYTES = 64 << 10
"""Unwanted bytes between two blobs that are read rather than asked around."""
_WHOLE_SHARE = 3
"""When more than this part of a pack is wanted, all from the first to the last is read."""

Visit = Callable[[int, bytes], None]
"""Given a position in the file and the bytes there; called in any order, by one thread."""


class _Wanted(NamedTuple):
    """A blob that is to be read, and where it belongs in the file; sorts by its place."""

    place: BlobPlace
    position: int
    blob_id: bytes

    @property
    def end(self) -> int:
        return self.place.offset + self.place.length


class Reader:
    """Reads files; safe to use from several threads.

    Args:
        repository: where from.
        workers: requests at the same time, while one file is restored.
    """

    def __init__(self, repository: Repository, *, workers: int = 2) -> None:
        self._repository = repository
        self._workers = workers
        self._zero = hashlib.sha256(bytes(repository.config.blob_size)).digest()

    def restore_file(self, node: Node, handle: int) -> None:
        """Write a file of a backup into an open file; pages of zeros become holes.

        Args:
            node: the file.
            handle: open for writing; what was in it is gone.

        Raises:
            MissingObjectError: a pack is gone.
            DamageError: something is not what was written; the file is not complete.
            OSError: the file can't be written.
        """
        os.ftruncate(handle, 0)
        os.ftruncate(handle, node.size)
        self.visit(node, lambda position, data: _write(handle, data, position))

    def visit(self, node: Node, visit: Visit) -> None:
        """Read all blobs of a file but the pages of zeros, in the order that is cheapest.

        Raises:
            MissingObjectError: a pack is gone.
            DamageError: something is not what was written.
        """
        planned = done = 0
        with ThreadPoolExecutor(self._workers, thread_name_prefix="read") as pool:
            # Others only wait for the store: to open blobs in several threads wins no time.
            coming: deque[tuple[list[_Wanted], Future[bytes]]] = deque()
            for wanted in self._plan(node):
                planned += len(wanted)
                for group in self._groups(wanted):
                    coming.append((group, pool.submit(self._fetch, group)))
                    if len(coming) > self._workers:
                        first, data = coming.popleft()
                        done += self._open(first, data.result(), visit)
            for group, data in coming:
                done += self._open(group, data.result(), visit)
        _require_all(node, planned, done)

    def read_range(self, node: Node, offset: int, length: int) -> bytes:
        """A part of a file.

        Raises:
            ValueError: it lies outside the file.
            MissingObjectError: a pack is gone.
            DamageError: something is not what was written.
        """
        if offset < 0 or length < 0 or offset + length > node.size:
            raise ValueError(f"{length} bytes at {offset} of a file of {node.size}")
        result = bytearray(length)

        def keep(position: int, data: bytes) -> None:
            start, end = max(position, offset), min(position + len(data), offset + length)
            result[start - offset : end - offset] = data[start - position : end - position]

        wanted = sorted(self._within(node, offset, offset + length))
        groups = self._groups(wanted)
        done = sum(self._open(group, self._fetch(group), keep) for group in groups)
        _require_all(node, len(wanted), done)
        return bytes(result)

    def data_ranges(self, node: Node) -> Iterator[tuple[int, int]]:
        """Begin and end of every range of a file that is not made of pages of zeros, rising."""
        begin = position = 0
        zeros = self._zeros(node)
        for _, count, blob_id in _content(node).runs():
            if blob_id in zeros:
                if position > begin:
                    yield begin, position
                position += count * self._place(blob_id).raw_length
                begin = position
            else:
                position += count * self._place(blob_id).raw_length
        if position > begin:
            yield begin, position

    def _plan(self, node: Node) -> Iterator[list[_Wanted]]:
        """All blobs of a file but the pages of zeros, so many at a time, as they lie in packs."""
        wanted: list[_Wanted] = []
        for each in self._all(node):
            wanted.append(each)
            if len(wanted) >= _WINDOW:
                yield sorted(wanted)
                wanted.clear()
        yield sorted(wanted)

    def _all(self, node: Node) -> Iterator[_Wanted]:
        """All blobs of a file but the pages of zeros.

        Raises:
            DamageError: they do not have the size of the file.
        """
        position, zeros = 0, self._zeros(node)
        for _, count, blob_id in _content(node).runs():
            place = self._place(blob_id)
            if blob_id in zeros:
                position += count * place.raw_length
                continue
            for _ in range(count):
                yield _Wanted(place, position, blob_id)
                position += place.raw_length
        if position != node.size:
            raise DamageError(f"{node.name} has {position} bytes and should have {node.size}")

    def _within(self, node: Node, begin: int, end: int) -> Iterator[_Wanted]:
        """The blobs of a range of a file but the pages of zeros."""
        content = _content(node)
        if begin == end:
            return
        size = self._place(content[0]).raw_length
        # Ours have one size but for the last; those of restic's chunker have any.
        if not (len(content) - 1) * size < node.size <= len(content) * size:
            yield from (each for each in self._all(node) if _meets(each, begin, end))
            return
        found, zeros = [], self._zeros(node)
        for number in range(begin // size, -(-end // size)):
            blob_id = content[number]
            place = self._place(blob_id)
            if place.raw_length != min(size, node.size - number * size):
                yield from (each for each in self._all(node) if _meets(each, begin, end))
                return
            if blob_id not in zeros:
                found.append(_Wanted(place, number * size, blob_id))
        yield from found

    def _zeros(self, node: Node) -> frozenset[bytes]:
        """Ids of the blobs of zeros that the file may have: whole ones, and one that ends it."""
        tail = bytes(node.size % self._repository.config.blob_size)
        return frozenset({self._zero, hashlib.sha256(tail).digest()})

    def _place(self, blob_id: bytes) -> BlobPlace:
        return self._repository.find_blob(BlobKind.DATA, blob_id)

    def _groups(self, wanted: list[_Wanted]) -> Iterator[list[_Wanted]]:
        """Cut sorted blobs into what one request reads."""
        repository, start = self._repository, 0
        while start < len(wanted):
            pack = wanted[start].place.pack
            end = start
            while end < len(wanted) and wanted[end].place.pack == pack:
                end += 1
            pack_end = repository.index.pack_end(pack)
            yield from _requests(wanted[start:end], pack_end, repository.store.longest_read)
            start = end

    def _fetch(self, group: list[_Wanted]) -> bytes:
        """The part of a pack in which blobs lie that are near each other."""
        first = group[0].place
        length = max(each.end for each in group) - first.offset
        return self._repository.store.get_range(self._pack_name(group), first.offset, length)

    def _pack_name(self, group: list[_Wanted]) -> str:
        pack_id = self._repository.index.pack_id(group[0].place.pack)
        return object_name(ObjectKind.DATA, pack_id)

    def _open(self, group: list[_Wanted], fetched: bytes, visit: Visit) -> int:
        """Open and check the blobs of a part of a pack; how many."""
        repository, name = self._repository, self._pack_name(group)
        first, sealed = group[0].place, memoryview(fetched)
        last, data = b"", b""
        for each in group:
            if each.blob_id != last:
                start = each.place.offset - first.offset
                piece = sealed[start : start + each.place.length]
                last, data = each.blob_id, repository.open_blob(each.place, each.blob_id, piece)
            if len(data) != each.place.raw_length:
                raise DamageError(f"blob {last.hex()} in {name} does not have its size")
            visit(each.position, data)
        return len(group)


def _require_all(node: Node, planned: int, done: int) -> None:
    """Refuse to leave zeros where a page was not brought.

    Raises:
        DamageError: so it would be.
    """
    if planned != done:
        raise DamageError(
            f"{done} of {planned} pages of {node.name} were read",
            hint="run it again, and report it: this is a fault of the program",
        )


def _content(node: Node) -> ContentTable:
    if node.content is None:
        raise ValueError(f"{node.name} is no file")
    return node.content


def _meets(wanted: _Wanted, begin: int, end: int) -> bool:
    return wanted.position < end and wanted.position + wanted.place.raw_length > begin


def _requests(blobs: list[_Wanted], pack_end: int, longest: int) -> Iterator[list[_Wanted]]:
    """Cut blobs of one pack, sorted by offset, into requests; a blob may exceed the longest."""
    lengths = {each.place.offset: each.place.length for each in blobs}
    whole = _WHOLE_SHARE * sum(lengths.values()) > pack_end
    group: list[_Wanted] = []
    for each in blobs:
        if group:
            gap = each.place.offset - group[-1].end
            long = each.end - group[0].place.offset > longest
            if long or (gap > _GAP_BYTES and not whole):
                yield group
                group = []
        group.append(each)
    if group:
        yield group


def _write(handle: int, data: bytes, position: int) -> None:
    written = os.pwrite(handle, data, position)
    while written < len(data):
        more = os.pwrite(handle, data[written:], position + written)
        if not more:
            raise OSError(errno.EIO, "nothing was written")
        written += more
