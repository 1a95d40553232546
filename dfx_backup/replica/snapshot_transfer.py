"""Reading snapshots out and uploading them (interface specification, "Canister snapshots").

An uploaded snapshot begins as zeros of the announced sizes, in sparse blobs: only what is uploaded
takes space. Whether everything was uploaded is not checked before the snapshot is loaded.
"""

from typing import Any, Final

from dfx_backup.replica import snapshots
from dfx_backup.replica.chunk_store import MAX_MODULE, find_chunk, put_chunk
from dfx_backup.replica.management_access import (
    INVALID_PAYLOAD,
    SNAPSHOT_IMMUTABLE,
    refuse,
)
from dfx_backup.replica.management_call import MAX_SLICE, Call, Handler, check_growth
from dfx_backup.replica.memory import Blob
from dfx_backup.replica.reject import Reject
from dfx_backup.replica.snapshots import (
    BASELINE,
    DATA_BASELINE,
    charge,
    new_snapshot_id,
    own_snapshot,
    replaced_snapshot,
    store,
)
from dfx_backup.replica.state import (
    CHUNK_SIZE,
    GIB,
    PAGE,
    CanisterState,
    GlobalValue,
    HookStatus,
    Snapshot,
)
from dfx_backup.replica.wasmbin import MAX_GLOBALS, read_module

MAX_HEAP_32: Final = 4 * GIB
MAX_HEAP_64: Final = 6 * GIB
MAX_STABLE: Final = 500 * GIB
MAX_CERTIFIED: Final = 32
_PLACES: Final = {
    "wasm_module": "wasm module",
    "wasm_memory": "main memory",
    "stable_memory": "stable memory",
}


def read_metadata(call: Call) -> tuple[object, ...]:
    """Tell everything about a snapshot except its data."""
    snapshot = own_snapshot(call, call.canister(), call.args["snapshot_id"])
    timer, hook = snapshot.global_timer, snapshot.hook_status
    return (
        {
            "source": (snapshot.source, None),
            "taken_at_timestamp": snapshot.taken_at,
            "canister_version": snapshot.canister_version,
            "wasm_module_size": snapshot.module.size,
            "wasm_memory_size": snapshot.heap.size,
            "stable_memory_size": snapshot.stable.size,
            "globals": [(each.type, each.number) for each in snapshot.globals],
            "wasm_chunk_store": [{"hash": key} for key in sorted(snapshot.chunks)],
            "certified_data": snapshot.certified_data,
            "global_timer": None if timer is None else _timer(timer),
            "on_low_wasm_memory_hook_status": None if hook is None else (hook.value, None),
        },
    )


def _timer(deadline: int) -> tuple[str, int | None]:
    return ("active", deadline) if deadline else ("inactive", None)


def read_data(call: Call) -> tuple[object, ...]:
    """Give a slice of at most 2,000,000 bytes, or a whole chunk of the chunk store.

    Raises:
        Reject: IC0408 slice too large or not inside, IC0504 no such chunk, IC0305, IC0406, IC0207.
    """
    canister = call.canister()
    snapshot = own_snapshot(call, canister, call.args["snapshot_id"])
    kind, wanted = call.args["kind"]
    if kind == "wasm_chunk":
        charge(call, canister, DATA_BASELINE + CHUNK_SIZE)
        return ({"chunk": find_chunk(snapshot.chunks, wanted["hash"])},)
    offset, size = wanted["offset"], wanted["size"]
    if size > MAX_SLICE:
        raise refuse(INVALID_PAYLOAD, f"Requested slice too large: {size} > {MAX_SLICE}")
    blob = _blob(snapshot, kind)
    if offset + size > blob.size:
        raise _bad_slice(kind, offset, size)
    charge(call, canister, DATA_BASELINE + size)
    # Into warm memory: a fresh buffer of this size costs more in page faults than the copy.
    blob.read_into(offset, call.scratch[:size])
    return ({"chunk": call.scratch[:size]},)


def _blob(snapshot: Snapshot, kind: str) -> Blob:
    return {
        "wasm_module": snapshot.module,
        "wasm_memory": snapshot.heap,
        "stable_memory": snapshot.stable,
    }[kind]


def _bad_slice(kind: str, offset: int, size: int) -> Reject:
    return refuse(
        INVALID_PAYLOAD,
        f"Invalid subslice into {_PLACES[kind]}: offset: {offset}, size: {size}",
    )


def upload_metadata(call: Call) -> tuple[object, ...]:
    """Make a snapshot of zeros to be filled by `upload_data`; version and time are those of now.

    Raises:
        Reject: IC0408 invalid metadata, IC0406 no slot, IC0305, IC0532, IC0101, IC0207.
    """
    canister, args, replica = call.canister(), call.args, call.replica
    old = replaced_snapshot(call, canister)
    globals_ = _check_metadata(canister, args)
    size = (
        args["wasm_module_size"]
        + args["wasm_memory_size"]
        + args["stable_memory_size"]
        + 8 * len(globals_)
        + len(args["certified_data"])
    )
    check_growth(replica, canister, size - (old.total_size if old else 0))
    charge(call, canister, BASELINE + size)
    timer, hook = args["global_timer"], args["on_low_wasm_memory_hook_status"]
    snapshot = Snapshot(
        id=new_snapshot_id(canister),
        source="metadata_upload",
        taken_at=replica.now_ns(),
        canister_version=canister.version,
        module=replica.blobs.new(args["wasm_module_size"]),
        heap=replica.blobs.new(args["wasm_memory_size"]),
        stable=replica.blobs.new(args["stable_memory_size"]),
        globals=globals_,
        certified_data=args["certified_data"],
        global_timer=None if timer is None else (timer[1] or 0),
        hook_status=None if hook is None else HookStatus(hook[0]),
    )
    store(canister, snapshot, old)
    return ({"snapshot_id": snapshot.id},)


def _check_metadata(canister: CanisterState, args: dict[str, Any]) -> list[GlobalValue]:
    """Check an upload's sizes; the installed module decides how large the heap may be."""
    wasm64 = canister.module is not None and read_module(canister.module.raw).is_wasm64
    largest = MAX_HEAP_64 if wasm64 else MAX_HEAP_32
    heap, stable = args["wasm_memory_size"], args["stable_memory_size"]
    problems = {
        "Wasm module size is out of range": not 0 < args["wasm_module_size"] <= MAX_MODULE,
        "Wasm memory size is not a multiple of the page size": heap % PAGE,
        f"Wasm memory size {heap} is above {largest}": heap > largest,
        "Stable memory size is not a multiple of the page size": stable % PAGE,
        f"Stable memory size {stable} is above {MAX_STABLE}": stable > MAX_STABLE,
        f"There are more than {MAX_GLOBALS} globals": len(args["globals"]) > MAX_GLOBALS,
        f"Certified data is longer than {MAX_CERTIFIED} bytes": (
            len(args["certified_data"]) > MAX_CERTIFIED
        ),
    }
    for problem, found in problems.items():
        if found:
            raise _invalid(problem)
    try:
        return [GlobalValue.from_number(kind, number) for kind, number in args["globals"]]
    except ValueError as bad:
        raise _invalid(str(bad)) from bad


def _invalid(problem: str) -> Reject:
    return refuse(INVALID_PAYLOAD, f"Snapshot Metadata contains invalid data: {problem}")


def upload_data(call: Call) -> tuple[object, ...]:
    """Write a slice of an uploaded snapshot, or add a chunk to its chunk store.

    Raises:
        Reject: IC0409 the snapshot was taken, not uploaded; IC0408 not inside; IC0504 chunk too
            large or store full; IC0305, IC0406, IC0532, IC0101, IC0207.
    """
    canister = call.canister()
    snapshot = own_snapshot(call, canister, call.args["snapshot_id"])
    if snapshot.source != "metadata_upload":
        raise refuse(
            SNAPSHOT_IMMUTABLE, "Only canister snapshots created by metadata upload can be mutated."
        )
    chunk: bytes = call.args["chunk"]
    kind, place = call.args["kind"]
    if kind == "wasm_chunk":
        check_growth(call.replica, canister, CHUNK_SIZE)
        charge(call, canister, CHUNK_SIZE)
        put_chunk(snapshot.chunks, chunk)
        return ()
    blob = _blob(snapshot, kind)
    if place["offset"] + len(chunk) > blob.size:
        raise _bad_slice(kind, place["offset"], len(chunk))
    charge(call, canister, len(chunk))
    blob.write(place["offset"], chunk)
    return ()


HANDLERS: Final[dict[str, Handler]] = {
    "take_canister_snapshot": snapshots.take,
    "load_canister_snapshot": snapshots.load,
    "list_canister_snapshots": snapshots.list_,
    "delete_canister_snapshot": snapshots.delete,
    "read_canister_snapshot_metadata": read_metadata,
    "read_canister_snapshot_data": read_data,
    "upload_canister_snapshot_metadata": upload_metadata,
    "upload_canister_snapshot_data": upload_data,
}
