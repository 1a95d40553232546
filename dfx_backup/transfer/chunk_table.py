"""SHA-256 of every chunk of a stream, as far as they are known."""

import hashlib
from collections.abc import Iterator
from typing import Self

from dfx_backup.errors import DamageError

HASH_BYTES = 32
"""Bytes of a SHA-256."""
_NONE = bytes(HASH_BYTES)  # nothing has this hash, as far as anybody knows
_ZERO_BLOCK = bytes(1 << 16)


class ChunkTable:
    """Hashes by the number of their chunk. Threads may set different ones at the same time.

    Args:
        size: of the stream, in bytes.
        chunk_size: bytes of each chunk but the last.
    """

    def __init__(self, size: int, chunk_size: int) -> None:
        self.size = size
        self.chunk_size = chunk_size
        self._hashes = bytearray(self.count * HASH_BYTES)

    @property
    def count(self) -> int:
        """How many chunks there are."""
        return -(-self.size // self.chunk_size)

    def length(self, index: int) -> int:
        """Bytes of a chunk."""
        return min(self.chunk_size, self.size - index * self.chunk_size)

    def get(self, index: int) -> bytes | None:
        """A chunk's hash, or None when it is not known or there is no such chunk."""
        found = bytes(self._hashes[index * HASH_BYTES : (index + 1) * HASH_BYTES])
        return None if found in (b"", _NONE) else found

    def put(self, index: int, hash_: bytes | None) -> None:
        """Set a chunk's hash, or forget it.

        Raises:
            IndexError: there is no such chunk.
        """
        # Beyond the end, or of another length, it would move the hashes of all others.
        if not 0 <= index < self.count or len(hash_ or _NONE) != HASH_BYTES:
            raise IndexError(index)
        self._hashes[index * HASH_BYTES : (index + 1) * HASH_BYTES] = hash_ or _NONE

    def resized(self, size: int) -> Self:
        """The same for another size: chunks that keep their length keep their hash."""
        made = type(self)(size, self.chunk_size)
        for index in range(min(self.count, made.count)):
            if self.length(index) == made.length(index):
                made.put(index, self.get(index))
        return made

    def root(self) -> str:
        """SHA-256 of all hashes, one after the other, hexadecimal."""
        return hashlib.sha256(self._hashes).hexdigest()

    def is_whole(self) -> bool:
        """Whether every hash is known."""
        return all(self.get(index) is not None for index in range(self.count))

    def require_whole(self, what: str) -> None:
        """Refuse a table in which hashes are missing: their chunks never came.

        Raises:
            DamageError: so it is.
        """
        if not self.is_whole():
            raise DamageError(
                f"chunks of {what} were lost on their way",
                hint="nothing was completed; run it again, and report it: this is a fault of the"
                " program",
            )

    def __iter__(self) -> Iterator[bytes | None]:
        """The hashes in order."""
        return (self.get(index) for index in range(self.count))

    def __eq__(self, other: object) -> bool:
        """Whether size, chunks and all hashes are the same."""
        if not isinstance(other, ChunkTable):
            return NotImplemented
        return (self.size, self.chunk_size, self._hashes) == (
            other.size,
            other.chunk_size,
            other._hashes,
        )

    __hash__ = None  # type: ignore[assignment] # it changes


class ZeroHashes:
    """Hashes of chunks of zeros: two lengths, at most, in one stream."""

    def __init__(self) -> None:
        self._known: dict[int, bytes] = {}

    def of(self, length: int) -> bytes:
        """SHA-256 of so many zero bytes."""
        if length not in self._known:
            hashes = hashlib.sha256()
            left = length
            while left:
                step = min(left, len(_ZERO_BLOCK))
                hashes.update(memoryview(_ZERO_BLOCK)[:step])
                left -= step
            self._known[length] = hashes.digest()
        return self._known[length]
