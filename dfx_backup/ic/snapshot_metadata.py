"""What a canister snapshot is beside its bytes: sizes, globals, timer, certified data."""

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dfx_backup.errors import NetworkError

if TYPE_CHECKING:
    from dfx_backup.ic.candid import Value


class GlobalKind(enum.StrEnum):
    """The type of a Wasm global."""

    I32 = "i32"
    I64 = "i64"
    F32 = "f32"
    F64 = "f64"
    V128 = "v128"


@dataclass(frozen=True, slots=True, kw_only=True)
class WasmGlobal:
    """The value of a Wasm global, exact to the bit.

    Attributes:
        kind: its type.
        value: i32, i64: the signed integer. f32, f64: the unsigned integer of its IEEE 754 bits.
            v128: the unsigned integer.
    """

    kind: GlobalKind
    value: int


class SnapshotSource(enum.StrEnum):
    """How a snapshot came to be."""

    TAKEN_FROM_CANISTER = "taken_from_canister"
    METADATA_UPLOAD = "metadata_upload"


class HookStatus(enum.StrEnum):
    """Whether the canister's low-memory hook will run."""

    CONDITION_NOT_SATISFIED = "condition_not_satisfied"
    READY = "ready"
    EXECUTED = "executed"


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalTimer:
    """The canister's global timer.

    Attributes:
        deadline_ns: nanoseconds since the epoch, or None when it is not set.
    """

    deadline_ns: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotMetadata:
    """What `read_canister_snapshot_metadata` tells; sizes are bytes.

    Attributes:
        source: how it came to be, or None when that is something newer than this program.
        taken_at_ns: nanoseconds since the epoch; of an uploaded one, when it was uploaded.
        wasm_module_size: size of the module as it was installed.
        globals: exported or mutable globals; None stands for one of an unknown type.
        wasm_memory_size: size of the Wasm memory.
        stable_memory_size: size of the stable memory.
        wasm_chunk_store: SHA-256 of each chunk in the store, 32 bytes each.
        canister_version: the canister's version when it was taken.
        certified_data: at most 32 bytes.
        global_timer: None when the snapshot is too old to tell.
        hook_status: None when the snapshot is too old to tell.
    """

    source: SnapshotSource | None
    taken_at_ns: int
    wasm_module_size: int
    globals: tuple[WasmGlobal | None, ...]
    wasm_memory_size: int
    stable_memory_size: int
    wasm_chunk_store: tuple[bytes, ...]
    canister_version: int
    certified_data: bytes
    global_timer: GlobalTimer | None
    hook_status: HookStatus | None


def from_candid(found: "Value") -> SnapshotMetadata:
    """Metadata out of the decoded reply (`management_types.METADATA`)."""
    source, timer, hook = (
        found[name] for name in ("source", "global_timer", "on_low_wasm_memory_hook_status")
    )
    return SnapshotMetadata(
        source=None if source is None else SnapshotSource(source[0]),
        taken_at_ns=found["taken_at_timestamp"],
        wasm_module_size=found["wasm_module_size"],
        globals=tuple(
            None if each is None else WasmGlobal(kind=GlobalKind(each[0]), value=each[1])
            for each in found["globals"]
        ),
        wasm_memory_size=found["wasm_memory_size"],
        stable_memory_size=found["stable_memory_size"],
        wasm_chunk_store=tuple(chunk["hash"] for chunk in found["wasm_chunk_store"]),
        canister_version=found["canister_version"],
        certified_data=found["certified_data"],
        global_timer=None if timer is None else GlobalTimer(deadline_ns=timer[1]),
        hook_status=None if hook is None else HookStatus(hook[0]),
    )


def to_candid(metadata: SnapshotMetadata) -> "dict[str, Value]":
    """The fields of `upload_canister_snapshot_metadata`; the system sets the others itself.

    Raises:
        NetworkError: a global is of a type that this program does not know.
    """
    if None in metadata.globals:
        raise NetworkError(
            "the snapshot holds a Wasm global of a type that this program does not know",
            hint="A newer version of dfx-backup may know it.",
        )
    timer, hook = metadata.global_timer, metadata.hook_status
    deadline = None if timer is None else timer.deadline_ns
    return {
        "wasm_module_size": metadata.wasm_module_size,
        "globals": [(each.kind.value, each.value) for each in metadata.globals if each is not None],
        "wasm_memory_size": metadata.wasm_memory_size,
        "stable_memory_size": metadata.stable_memory_size,
        "certified_data": metadata.certified_data,
        "global_timer": None
        if timer is None
        else (("inactive", None) if deadline is None else ("active", deadline)),
        "on_low_wasm_memory_hook_status": None if hook is None else (hook.value, None),
    }
