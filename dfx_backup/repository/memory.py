"""A store in memory: for tests, and for trying things out."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

from dfx_backup.errors import DamageError
from dfx_backup.repository.store import (
    Buffer,
    MissingObjectError,
    ObjectInfo,
    ObjectStore,
    checked_name,
    checked_prefix,
    pieces_of,
)


class MemoryStore(ObjectStore):
    """Objects in a dictionary.

    Args:
        clock: tells when an object was written, in seconds since the epoch.

    Attributes:
        objects: bytes and time of writing of each object by name; tests may damage them.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.objects: dict[str, tuple[bytes, float]] = {}

    def put(self, name: str, data: Buffer | Sequence[Buffer]) -> None:
        """Keep a copy of an object."""
        joined = b"".join(pieces_of(data))
        with self._lock:
            self.objects[checked_name(name)] = (joined, self._clock())

    def get(self, name: str) -> bytes:
        """Read an object."""
        try:
            return self.objects[checked_name(name)][0]
        except KeyError:
            raise MissingObjectError(name, where=self.describe()) from None

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Read a part of an object."""
        data = self.get(name)[offset : offset + length]
        if len(data) != length:
            raise DamageError(f"{name} in {self.describe()} ends too early")
        return data

    def size(self, name: str) -> int:
        """Bytes of an object."""
        return len(self.get(name))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Objects whose names begin with `prefix`."""
        checked_prefix(prefix)
        with self._lock:
            found = [
                ObjectInfo(name=name, size=len(data), modified=modified)
                for name, (data, modified) in self.objects.items()
                if name.startswith(prefix)
            ]
        yield from found

    def delete(self, name: str) -> None:
        """Forget an object."""
        with self._lock:
            self.objects.pop(checked_name(name), None)

    def exists(self, name: str) -> bool:
        """Whether there is such an object."""
        return checked_name(name) in self.objects

    def describe(self) -> str:
        """Where this is, for messages."""
        return "memory"
