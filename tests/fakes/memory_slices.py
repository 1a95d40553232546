"""Snapshots in memory that are read and written in slices; each method can be made to fail.

Stands in for `ManagementCanister` where no network is needed. Threads may share it.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from dfx_backup.errors import NetworkError, RejectError, UnknownOutcomeError
from dfx_backup.ic.http_errors import ExpiredError, HttpStatusError, TransportError
from dfx_backup.ic.snapshot_metadata import (
    GlobalTimer,
    HookStatus,
    SnapshotMetadata,
    SnapshotSource,
    WasmGlobal,
)
from dfx_backup.ic.snapshot_parts import Section, Slice, WasmChunk
from dfx_backup.ic.surroundings import Surroundings
from dfx_backup.model import CanisterId, CanisterSnapshot, NetworkId, SentCall, SnapshotId
from dfx_backup.transfer.terms import BackupIdentity, TransferOptions

PAGE = 65536
CANISTER = CanisterId("rrkah-fqaaa-aaaaa-aaaaq-cai")
NETWORK = NetworkId("5a" * 32)
MODULE = b"\0asm\x01\0\0\0 and more"


def reject(error_code: str, text: str = "no") -> RejectError:
    number = int(error_code[3])
    return RejectError(text, reject_code=number, reject_message=text, error_code=error_code)


def lost() -> UnknownOutcomeError:
    return UnknownOutcomeError("lost", request_id="ab", expires_at=0.0)


def http(status: int) -> HttpStatusError:
    return HttpStatusError(f"HTTP {status}", status=status)


def broken() -> TransportError:
    return TransportError("the connection broke", sent=True)


def expired() -> ExpiredError:
    return ExpiredError("expired")


class Time:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)

    def surroundings(self) -> Surroundings:
        return Surroundings(
            clock=self.clock, monotonic=self.clock, sleep=self.sleep, rng=lambda: 0.5
        )


def quick(time: Time | None = None, **more: Any) -> TransferOptions:
    values: dict[str, Any] = {
        "window": 4,
        "surroundings": (time or Time()).surroundings(),
    }
    return TransferOptions(**(values | more))


@dataclass
class Held:
    metadata: SnapshotMetadata
    sections: dict[Section, bytearray]
    chunks: dict[bytes, bytes] = field(default_factory=dict)


@dataclass
class Fault:
    method: str
    error: Callable[[], BaseException]
    times: int = 1
    skip: int = 0
    executed: bool = False


class MemorySlices:
    """Attributes: `held` snapshots, `calls` made as (method, detail), `time`."""

    def __init__(self, time: Time | None = None) -> None:
        self.time = time or Time()
        self.held: dict[SnapshotId, Held] = {}
        self.calls: list[tuple[str, Any]] = []
        self.faults: list[Fault] = []
        self.listeners: list[Callable[[NetworkError], None]] = []
        self.corrupt: Callable[[Any, bytes], bytes] = lambda _part, data: data
        self.before_call: Callable[[str], None] = lambda _method: None
        self._lock = threading.Lock()
        self._next = 0

    def plant(
        self,
        *,
        module: bytes = MODULE,
        heap: bytes = bytes(PAGE),
        stable: bytes = b"",
        chunks: tuple[bytes, ...] = (),
        globals_: tuple[WasmGlobal | None, ...] = (),
        **more: Any,
    ) -> SnapshotId:
        hashes = sorted(hashlib.sha256(chunk).digest() for chunk in chunks)
        metadata = SnapshotMetadata(
            source=SnapshotSource.TAKEN_FROM_CANISTER,
            taken_at_ns=1_726_515_623_000_000_000,
            wasm_module_size=len(module),
            globals=globals_,
            wasm_memory_size=len(heap),
            stable_memory_size=len(stable),
            wasm_chunk_store=tuple(hashes),
            canister_version=7,
            certified_data=b"\x01\x02",
            global_timer=GlobalTimer(deadline_ns=12345),
            hook_status=HookStatus.READY,
        )
        sections = {
            Section.WASM_MODULE: bytearray(module),
            Section.WASM_MEMORY: bytearray(heap),
            Section.STABLE_MEMORY: bytearray(stable),
        }
        by_hash = {hashlib.sha256(chunk).digest(): chunk for chunk in chunks}
        return self._keep(Held(replace(metadata, **more), sections, by_hash))

    def what(self, snapshot: SnapshotId, **more: Any) -> BackupIdentity:
        values: dict[str, Any] = {
            "canister_id": CANISTER,
            "snapshot_id": snapshot,
            "network_id": NETWORK,
            "tool": "dfx-backup 0.1.0",
            "created_at": 1_700_000_000.0,
        }
        return BackupIdentity(**(values | more))

    def fail(self, method: str, error: Callable[[], BaseException], **more: Any) -> None:
        self.faults.append(Fault(method, error, **more))

    def count(self, method: str) -> int:
        return sum(1 for name, _ in self.calls if name == method)

    # -- SliceWriter

    @contextmanager
    def watch(self, listener: Callable[[NetworkError], None]) -> Iterator[None]:
        self.listeners.append(listener)
        yield
        self.listeners.remove(listener)

    def read_snapshot_metadata(
        self, _canister: CanisterId, snapshot: SnapshotId
    ) -> SnapshotMetadata:
        def read() -> SnapshotMetadata:
            if snapshot not in self.held:
                raise reject("IC0305", "Could not find the snapshot ID")
            return self.held[snapshot].metadata

        return self._do("read_metadata", snapshot, read)

    def read_snapshot_data(self, _canister: CanisterId, snapshot: SnapshotId, part: Any) -> bytes:
        def read() -> bytes:
            held = self.held[snapshot]
            if isinstance(part, WasmChunk):
                if part.hash not in held.chunks:
                    raise reject("IC0504", "no such chunk")
                data = held.chunks[part.hash]
            else:
                assert isinstance(part, Slice)
                assert part.size <= 2_000_000
                data = bytes(held.sections[part.section][part.offset : part.offset + part.size])
            data = self.corrupt(part, data)
            part.check(data)
            return data

        return self._do("read_data", part, read)

    def list_snapshots(self, _canister: CanisterId) -> tuple[CanisterSnapshot, ...]:
        return self._do(
            "list", None, lambda: tuple(CanisterSnapshot(snapshot_id=each) for each in self.held)
        )

    def upload_snapshot_metadata(
        self,
        _canister: CanisterId,
        metadata: SnapshotMetadata,
        *,
        replace: SnapshotId | None = None,
        before_send: Callable[[SentCall], None] | None = None,
    ) -> SnapshotId:
        if before_send is not None:
            before_send(SentCall(request_id="ab", expires_at=self.time.now + 240))

        def make() -> SnapshotId:
            if replace is not None:
                del self.held[replace]
            return self._keep(_empty(metadata))

        return self._do("upload_metadata", metadata, make)

    def upload_snapshot_data(
        self, _canister: CanisterId, snapshot: SnapshotId, place: Any, chunk: bytes
    ) -> None:
        def write() -> None:
            held = self.held[snapshot]
            if place.section is None:
                held.chunks[hashlib.sha256(chunk).digest()] = chunk
                return
            section = held.sections[place.section]
            assert place.offset + len(chunk) <= len(section)
            section[place.offset : place.offset + len(chunk)] = chunk

        self._do("upload_data", (place, len(chunk)), write)

    def _do(self, method: str, detail: Any, action: Callable[[], Any]) -> Any:
        self.before_call(method)
        with self._lock:
            self.calls.append((method, detail))
            fault = self._fault(method)
            if fault is None or fault.executed:
                result = action()
        if fault is not None:
            error = fault.error()
            if isinstance(error, HttpStatusError | TransportError):
                for listener in list(self.listeners):
                    listener(error)
            raise error
        return result

    def _fault(self, method: str) -> Fault | None:
        for fault in self.faults:
            if fault.method == method and fault.times:
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                return fault
        return None

    def _keep(self, held: Held) -> SnapshotId:
        self._next += 1
        made = SnapshotId(f"{self._next:016x}ffff")
        self.held[made] = held
        return made


def _empty(metadata: SnapshotMetadata) -> Held:
    made = replace(
        metadata,
        source=SnapshotSource.METADATA_UPLOAD,
        wasm_chunk_store=(),
        canister_version=99,
        taken_at_ns=1,
    )
    sizes = (metadata.wasm_module_size, metadata.wasm_memory_size, metadata.stable_memory_size)
    return Held(made, {s: bytearray(size) for s, size in zip(Section, sizes, strict=True)})
