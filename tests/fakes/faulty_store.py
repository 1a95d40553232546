"""A store around another one that fails where it is told to, and counts what is asked of it."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Lock

from dfx_backup.repository.store import Buffer, ObjectInfo, ObjectStore, StoreError, pieces_of

FOREVER = 1 << 60


class Fault(StrEnum):
    """What may go wrong with one operation."""

    ERROR = "error"  # nothing happens but the error
    SHORT = "short"  # a read gives half; a write leaves what a crash leaves, and the error
    FLIP = "flip"  # a read, or what a write stores, has one wrong bit
    LOST = "lost"  # it happens, and the answer is lost
    STALE = "stale"  # a listing is that of the listing before
    FULL = "full"  # no space left
    SLOW = "slow"  # it takes a while


@dataclass(slots=True, kw_only=True)
class Switch:
    """Which calls of one operation fail, and how.

    Attributes:
        operation: put, get, get_range, size, list, delete, exists; or write (put and delete), or
            any.
        fault: how.
        first: number of the first call that fails, from 1 on, among those that match.
        times: how many fail.
        match: which names count.
        seen: calls that matched so far.
        hits: calls that failed so far.
    """

    operation: str
    fault: Fault
    first: int = 1
    times: int = 1
    match: Callable[[str], bool] = field(default=lambda _: True)
    seen: int = 0
    hits: int = 0

    def strikes(self, operation: str, name: str) -> bool:
        kinds = {operation, "any"} | ({"write"} if operation in ("put", "delete") else set())
        if self.operation not in kinds or not self.match(name):
            return False
        self.seen += 1
        struck = self.first <= self.seen < self.first + self.times
        self.hits += struck
        return struck


class FaultyStore(ObjectStore):
    """Passes everything on to `inner`, unless a switch strikes.

    Attributes:
        counts: calls of each operation.
        log: operation and name of each call, in order.
        pause: seconds that a slow operation takes.
        before: called with operation and name before each one.
    """

    def __init__(self, inner: ObjectStore, *switches: Switch, pause: float = 0.05) -> None:
        self.inner = inner
        self.switches = list(switches)
        self.counts: Counter[str] = Counter()
        self.log: list[tuple[str, str]] = []
        self.pause = pause
        self.before: Callable[[str, str], None] = lambda _operation, _name: None
        self._lock = Lock()
        self._listings: dict[str, list[ObjectInfo]] = {}

    @property
    def writes(self) -> int:
        return self.counts["put"] + self.counts["delete"]

    def add(self, operation: str, fault: Fault, **options: object) -> Switch:
        switch = Switch(operation=operation, fault=fault, **options)
        self.switches.append(switch)
        return switch

    def put(self, name: str, data: Buffer | Sequence[Buffer]) -> None:
        fault = self._fault("put", name)
        if fault is Fault.SHORT:
            self._leave_half(name, data)
        if fault is Fault.FLIP:
            data = flipped(b"".join(pieces_of(data)))
        self.inner.put(name, data)
        self._lose(fault, "put", name)

    def get(self, name: str) -> bytes:
        fault = self._fault("get", name)
        data = self.inner.get(name)
        self._lose(fault, "get", name)
        return _spoilt(data, fault)

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        fault = self._fault("get_range", name)
        data = self.inner.get_range(name, offset, length)
        self._lose(fault, "get_range", name)
        return _spoilt(data, fault)

    def size(self, name: str) -> int:
        fault = self._fault("size", name)
        size = self.inner.size(name)
        self._lose(fault, "size", name)
        return size // 2 if fault is Fault.SHORT else size

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        fault = self._fault("list", prefix)
        found = list(self.inner.list(prefix))
        self._lose(fault, "list", prefix)
        if fault is Fault.STALE:
            found = self._listings.get(prefix, [])
        self._listings[prefix] = found
        yield from found

    def delete(self, name: str) -> None:
        fault = self._fault("delete", name)
        self.inner.delete(name)
        self._lose(fault, "delete", name)

    def exists(self, name: str) -> bool:
        fault = self._fault("exists", name)
        there = self.inner.exists(name)
        self._lose(fault, "exists", name)
        return there

    def describe(self) -> str:
        return f"faulty {self.inner.describe()}"

    def _fault(self, operation: str, name: str) -> Fault | None:
        """Count the call; raise at once when it is to fail before anything happens."""
        with self._lock:
            self.counts[operation] += 1
            self.log.append((operation, name))
            struck = [each.fault for each in self.switches if each.strikes(operation, name)]
        self.before(operation, name)
        fault = struck[0] if struck else None
        if fault is Fault.ERROR:
            raise StoreError(f"{operation} of {name} failed, as it was told to")
        if fault is Fault.FULL and operation == "put":
            raise StoreError(f"{name} can't be written: No space left on device")
        if fault is Fault.SLOW:
            time.sleep(self.pause)
        return fault

    def _lose(self, fault: Fault | None, operation: str, name: str) -> None:
        if fault is Fault.LOST:
            raise StoreError(f"the answer to {operation} of {name} was lost")

    def _leave_half(self, name: str, data: Buffer | Sequence[Buffer]) -> None:
        """What a crash in the middle of a write leaves in a store that writes objects whole."""
        root = getattr(self.inner, "_root", None)
        if root is not None:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            whole = b"".join(pieces_of(data))
            (path.parent / f".{path.name}.1.0.tmp").write_bytes(whole[: len(whole) // 2])
        raise StoreError(f"{name} was written in part")


def flipped(data: bytes) -> bytes:
    """The bytes with one wrong bit in their middle."""
    changed = bytearray(data)
    if changed:
        changed[len(changed) // 2] ^= 0x10
    return bytes(changed)


def _spoilt(data: bytes, fault: Fault | None) -> bytes:
    if fault is Fault.SHORT:
        return data[: len(data) // 2]
    return flipped(data) if fault is Fault.FLIP else data
