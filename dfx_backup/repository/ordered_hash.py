"""The SHA-256 of a file whose parts come in any order.

Parts wait for those before them, up to a bound; whoever would exceed it waits. When what is missing
does not come, the hash gives up keeping what it gets, and reads it again at the end.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator

from dfx_backup.repository.store import Buffer

_ZEROS = bytes(1 << 20)

LOOK_AHEAD_BYTES = 16 << 20
"""Bytes that wait for others, those which somebody works at included."""
PATIENCE_S = 60.0
"""Seconds without any progress after which what comes is not kept any more."""


class NoHash:
    """Only bounds what waits, for files whose hash nobody wants; the same methods.

    Args:
        look_ahead: bytes that may wait.
    """

    def __init__(self, *, look_ahead: int = LOOK_AHEAD_BYTES // 2) -> None:
        self._look_ahead = look_ahead
        self._changed = threading.Condition()
        self._held = 0
        self._aborted = False

    def reserve(self, _offset: int, length: int) -> None:
        """Wait until a part may come."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._aborted or not self._held or self._held + length <= self._look_ahead
            )
            self._held += length

    def offer(self, _offset: int, data: Buffer) -> None:
        """Bring a part that was reserved."""
        with self._changed:
            self._held -= len(data)
            self._changed.notify_all()

    def skip(self, _offset: int, _length: int) -> None:
        """Say that a part is all zeros."""

    def drain(self) -> None:
        """Nothing waits."""

    def abort(self) -> None:
        """Let everybody go who waits."""
        with self._changed:
            self._aborted = True
            self._changed.notify_all()

    def finish(self, _read: Callable[[int, int], Iterator[bytes]]) -> None:
        """There is no hash."""


class OrderedHash:
    """Hashes a file of known size; safe to use from several threads.

    Args:
        size: bytes of the file.
        look_ahead: bytes that may wait.
        patience_s: seconds to wait for a part that is missing.
    """

    def __init__(
        self,
        size: int,
        *,
        look_ahead: int = LOOK_AHEAD_BYTES,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._size = size
        self._look_ahead = look_ahead
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._hash = hashlib.sha256()
        self._frontier = self._taken = 0
        # A part without its bytes (None) is to be read again; a hole is its length.
        self._waiting: dict[int, tuple[int, Buffer | None]] = {}
        self._holes: set[int] = set()
        self._held = 0
        self._draining = False
        self._forgetful = False
        self._aborted = False

    def reserve(self, offset: int, length: int) -> None:
        """Wait until a part may come; it is then counted as waiting.

        Raises:
            ValueError: it lies outside the file, or was there before.
        """
        with self._changed:
            while not self._room(offset, length):
                # Every progress notifies us.
                if not self._changed.wait(self._patience_s):
                    self._forgetful = True
            self._check(offset, length)
            self._held += length
            self._waiting[offset] = (length, None)

    def offer(self, offset: int, data: Buffer) -> None:
        """Bring a part that was reserved; hashes it and what waited for it when it is its turn."""
        with self._changed:
            behind = self._forgetful and offset != self._frontier
            if behind:
                self._held -= len(data)
            self._waiting[offset] = (len(data), None if behind else data)
        self._drain()

    def skip(self, offset: int, length: int) -> None:
        """Say that a part is all zeros and will not come.

        Raises:
            ValueError: it lies outside the file, or was there before.
        """
        with self._changed:
            self._check(offset, length)
            self._waiting[offset] = (length, None)
            self._holes.add(offset)

    def drain(self) -> None:
        """Hash what can be hashed by now."""
        self._drain()

    def abort(self) -> None:
        """Let everybody go who waits."""
        with self._changed:
            self._aborted = True
            self._changed.notify_all()

    def finish(self, read: Callable[[int, int], Iterator[bytes]]) -> str:
        """The hash, hexadecimal, when all parts have come; what never came is zeros.

        Args:
            read: reads a part again that could not be kept, from its offset and length.
        """
        for offset in sorted(self._waiting):
            if offset < self._frontier:
                raise ValueError(f"bytes at {offset} come twice")
            self._zeros(offset - self._frontier)
            length, data = self._waiting[offset]
            if offset in self._holes:
                self._zeros(length)
            else:
                for piece in [data] if data is not None else read(offset, length):
                    self._hash.update(piece)
                self._frontier = offset + length
        self._waiting.clear()
        self._zeros(self._size - self._frontier)
        return self._hash.hexdigest()

    def _check(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self._size:
            raise ValueError(f"{length} bytes at {offset} of a file of {self._size}")
        if offset < self._taken or offset in self._waiting:
            raise ValueError(f"{length} bytes at {offset} come twice")

    def _room(self, offset: int, length: int) -> bool:
        return (
            self._aborted
            or self._forgetful
            or offset == self._frontier
            or self._held + length <= self._look_ahead
        )

    def _ready(self) -> tuple[int, Buffer | None] | None:
        """The part at the frontier, when it is there; a hole has no bytes."""
        found = self._waiting.get(self._frontier)
        if found is None or (found[1] is None and self._frontier not in self._holes):
            return None
        del self._waiting[self._frontier]
        self._holes.discard(self._frontier)
        self._taken = self._frontier + found[0]
        return found

    def _drain(self) -> None:
        with self._changed:
            # Whoever drains takes what comes meanwhile too.
            if self._draining:
                return
            self._draining = True
        try:
            while True:
                with self._changed:
                    part = self._ready()
                    if part is None or self._aborted:
                        self._draining = False
                        return
                self._take(*part)
        except BaseException:
            self._draining = False
            raise

    def _take(self, length: int, data: Buffer | None) -> None:
        if data is None:
            self._zeros(length)
            return
        self._hash.update(data)
        with self._changed:
            self._frontier += length
            self._held -= length
            self._changed.notify_all()

    def _zeros(self, count: int) -> None:
        left = count
        while left > 0:
            step = min(left, len(_ZEROS))
            self._hash.update(_ZEROS if step == len(_ZEROS) else _ZEROS[:step])
            left -= step
        with self._changed:
            self._frontier += count
            self._changed.notify_all()
