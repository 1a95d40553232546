"""What a canister is between two messages: plain data, committed, owned by the replica.

Everything here can be written to disk and read back (`codec`). Code that runs inside a message
never changes these objects: it collects effects and the replica applies them when the message
succeeded. The management canister changes them directly, under the replica's lock.

Principals are raw bytes. Times are nanoseconds since 1970. Cycles are plain integers (u128).
"""

import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from dfx_backup.replica.calls import Callback, CallContext, StopWaiter
from dfx_backup.replica.candid_types import Float32NaN
from dfx_backup.replica.memory import Blob
from dfx_backup.replica.reject import Reject as Reject  # noqa: PLC0414 - callers of the replica find it here too

PAGE = 65_536
GIB = 1 << 30
MANAGEMENT_ID = b""
ANONYMOUS_ID = b"\x04"
DEFAULT_CYCLES = 100_000_000_000_000
CHUNK_SIZE = 1_048_576
"""A chunk of the Wasm chunk store is charged as this many bytes, whatever it holds."""

STORAGE_FEE_PER_GIB_SECOND = 127_000
"""Cycles for one GiB kept for one second (cycle costs of a 13-node application subnet)."""

_INFINITY_32 = 0x7F80_0000

Details = dict[str, object]
"""One history entry's content; values are str, int, bytes, None, and lists and dicts of them."""


class RunState(StrEnum):
    """Run state of a canister (interface specification, "Canister status")."""

    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"


class HookStatus(StrEnum):
    """State of the low Wasm memory hook; the names are those of the management interface."""

    CONDITION_NOT_SATISFIED = "condition_not_satisfied"
    READY = "ready"
    EXECUTED = "executed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visibility:
    """Who besides the controllers may read something (logs, snapshots, status).

    Attributes:
        kind: "allowed_viewers" makes `viewers` count; otherwise it is empty.
        viewers: principals, at most ten.
    """

    kind: Literal["controllers", "public", "allowed_viewers"] = "controllers"
    viewers: tuple[bytes, ...] = ()

    def allows(self, caller: bytes, controllers: list[bytes]) -> bool:
        """Whether `caller` may read."""
        return self.kind == "public" or caller in self.viewers or caller in controllers


@dataclass(slots=True, kw_only=True)
class Settings:
    """Settings of a canister except its controllers (interface specification, 2026 fields).

    Allocations and limits are in bytes, `compute_allocation` in percent, `freezing_threshold` in
    seconds. 0 means no limit for `wasm_memory_limit`, and no logs for `log_memory_limit`.
    """

    compute_allocation: int = 0
    memory_allocation: int = 0
    freezing_threshold: int = 2_592_000
    reserved_cycles_limit: int = 5_000_000_000_000
    minimum_incoming_canister_call_cycles: int = 0
    log_visibility: Visibility = field(default_factory=Visibility)
    log_memory_limit: int = 4096
    snapshot_visibility: Visibility = field(default_factory=Visibility)
    status_visibility: Visibility = field(default_factory=Visibility)
    wasm_memory_limit: int = 3 * GIB
    wasm_memory_threshold: int = 0
    environment_variables: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class GlobalValue:
    """Value of a Wasm global as its bits, so that NaNs survive.

    Attributes:
        type: "i32", "i64", "f32", "f64" or "v128".
        bits: unsigned, as wide as the type.
    """

    type: Literal["i32", "i64", "f32", "f64", "v128"]
    bits: int

    @property
    def number(self) -> int | float:
        """The value as the management interface has it: signed integers, floats, v128 unsigned."""
        match self.type:
            case "i32":
                return self.bits - ((self.bits >> 31) << 32)
            case "i64":
                return self.bits - ((self.bits >> 63) << 64)
            case "f32":
                if self.bits & 0x7FFF_FFFF > _INFINITY_32:
                    return Float32NaN(self.bits)
                return float(struct.unpack("<f", self.bits.to_bytes(4, "little"))[0])
            case "f64":
                return float(struct.unpack("<d", self.bits.to_bytes(8, "little"))[0])
            case "v128":
                return self.bits

    @classmethod
    def from_number(cls, kind: str, number: float) -> "GlobalValue":
        """The inverse of `number`.

        Raises:
            ValueError: unknown `kind`, or the number does not fit.
        """
        try:
            match kind:
                case "i32":
                    return cls("i32", struct.unpack("<I", struct.pack("<i", number))[0])
                case "i64":
                    return cls("i64", struct.unpack("<Q", struct.pack("<q", number))[0])
                case "f32" if isinstance(number, Float32NaN):
                    return cls("f32", number.bits)
                case "f32":
                    return cls("f32", struct.unpack("<I", struct.pack("<f", number))[0])
                case "f64":
                    return cls("f64", struct.unpack("<Q", struct.pack("<d", number))[0])
                case "v128" if isinstance(number, int) and 0 <= number < 1 << 128:
                    return cls("v128", number)
        except (struct.error, OverflowError) as error:
            raise ValueError(f"{number} is no {kind}: {error}") from error
        raise ValueError(f"{number} is no {kind}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """An installed Wasm module.

    Attributes:
        raw: the bytes as they were installed (gzip stays gzip).
        sha256: of `raw`; the canister's module hash.
        metadata: custom sections by name, which lacks "icp:public " or "icp:private "; each is
            (is_public, content).
        custom_sections_size: bytes of all custom sections.
    """

    raw: bytes
    sha256: bytes
    metadata: dict[str, tuple[bool, bytes]]
    custom_sections_size: int = 0


@dataclass(slots=True, kw_only=True)
class Snapshot:
    """A canister snapshot (interface specification, "Take canister snapshot").

    Attributes:
        id: opaque; the replica uses an 8-byte counter followed by the canister id.
        source: "metadata_upload" ones can be written to.
        module, heap, stable: blobs of their own; sizes as in the metadata.
        canister_version, certified_data, global_timer, hook_status, chunks: as when taken.
            `global_timer` (0 = inactive) and `hook_status` are None when an upload lacked them.
    """

    id: bytes
    source: Literal["taken_from_canister", "metadata_upload"]
    taken_at: int
    canister_version: int
    module: Blob
    heap: Blob
    stable: Blob
    globals: list[GlobalValue]
    certified_data: bytes
    global_timer: int | None
    hook_status: HookStatus | None
    chunks: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def total_size(self) -> int:
        """Bytes the snapshot counts for, allocated rather than touched."""
        return (
            self.module.size
            + self.heap.size
            + self.stable.size
            + 8 * len(self.globals)
            + len(self.certified_data)
            + CHUNK_SIZE * len(self.chunks)
        )

    def blobs(self) -> Iterator[Blob]:
        """The blobs that the snapshot owns."""
        yield from (self.module, self.heap, self.stable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One entry of the canister history.

    Attributes:
        origin: principal that made the change.
        origin_version: version of `origin` when it is a canister that told it, else None.
        kind: variant of `change_details`, such as "creation" or "code_deployment".
        details: content of that variant.
    """

    timestamp: int
    canister_version: int
    origin: bytes
    origin_is_canister: bool
    origin_version: int | None
    kind: str
    details: Details


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRecord:
    """One line of a canister's log."""

    index: int
    timestamp: int
    content: bytes


@dataclass(slots=True, kw_only=True)
class CanisterState:
    """A canister between two messages.

    Attributes:
        version: `canister_version`.
        module: None for an empty canister; then `heap` and `stable` have size 0.
        heap: committed Wasm memory.
        stable: committed stable memory.
        globals: mutable or exported ones, in the order of `wasmbin.ModuleInfo.globals`.
        global_timer: deadline, 0 when inactive.
        chunks: the Wasm chunk store, content by SHA-256.
        snapshots: by snapshot id, oldest first.
        next_snapshot: counter for snapshot ids.
        total_changes: number of history entries ever, also of those no longer kept.
        contexts: open call contexts by id; callbacks: outstanding calls by id.
        stop_waiters: stop requests that wait for the contexts to close.
        created_at, last_install_at: 0 when never installed.
    """

    canister_id: bytes
    controllers: list[bytes]
    cycles: int
    created_at: int
    heap: Blob
    stable: Blob
    settings: Settings = field(default_factory=Settings)
    status: RunState = RunState.RUNNING
    version: int = 0
    module: Module | None = None
    globals: list[GlobalValue] = field(default_factory=list)
    certified_data: bytes = b""
    global_timer: int = 0
    hook_status: HookStatus = HookStatus.CONDITION_NOT_SATISFIED
    last_install_at: int = 0
    reserved_cycles: int = 0
    chunks: dict[bytes, bytes] = field(default_factory=dict)
    snapshots: dict[bytes, Snapshot] = field(default_factory=dict)
    next_snapshot: int = 0
    history: deque[Change] = field(default_factory=lambda: deque(maxlen=100))
    total_changes: int = 0
    logs: deque[LogRecord] = field(default_factory=deque)
    next_log_index: int = 0
    contexts: dict[int, CallContext] = field(default_factory=dict)
    callbacks: dict[int, Callback] = field(default_factory=dict)
    stop_waiters: list[StopWaiter] = field(default_factory=list)

    @property
    def memory_usage(self) -> int:
        """Bytes that the canister is charged for: memories, module, chunks, logs, snapshots."""
        return (
            self.heap.size
            + self.stable.size
            + 8 * len(self.globals)
            + (len(self.module.raw) + self.module.custom_sections_size if self.module else 0)
            + CHUNK_SIZE * len(self.chunks)
            + self.log_size
            + sum(snapshot.total_size for snapshot in self.snapshots.values())
        )

    @property
    def log_size(self) -> int:
        """Bytes of all log contents."""
        return sum(len(record.content) for record in self.logs)

    @property
    def idle_cycles_burned_per_day(self) -> int:
        """Storage fee for a day: the larger of usage and allocation, times the fee per GiB."""
        charged = max(self.memory_usage, self.settings.memory_allocation)
        return charged * STORAGE_FEE_PER_GIB_SECOND * 86_400 // GIB

    @property
    def freezing_limit(self) -> int:
        """Cycles below which the canister is frozen.

        `freezing_threshold` seconds of the storage fee of `idle_cycles_burned_per_day`.
        """
        return self.idle_cycles_burned_per_day * self.settings.freezing_threshold // 86_400

    @property
    def is_frozen(self) -> bool:
        """Whether the balance is below the freezing limit."""
        return self.cycles < self.freezing_limit
