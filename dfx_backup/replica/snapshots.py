"""Canister snapshots: take, load, list, delete (interface specification, "Canister snapshots").

Whether a canister runs does not matter here: that it should be stopped is advice, not a rule.
`snapshot_transfer` holds the four methods that read and upload snapshots.
"""

from typing import Final

from dfx_backup.replica.management_access import (
    INVALID_PAYLOAD,
    OUT_OF_CYCLES,
    REJECTED,
    SNAPSHOT_NOT_FOUND,
    refuse,
)
from dfx_backup.replica.management_call import Call, check_growth
from dfx_backup.replica.principal import to_text
from dfx_backup.replica.state import CHUNK_SIZE, CanisterState, HookStatus, Snapshot

MAX_SNAPSHOTS: Final = 10
# Cycles for a message on a subnet of 13 nodes: 5 million, and one per instruction.
MESSAGE_FEE: Final = 5_000_000
BASELINE: Final = 2_000_000_000
DATA_BASELINE: Final = 5_000_000


def charge(call: Call, canister: CanisterState, instructions: int) -> None:
    """Let the canister pay for an operation on its snapshots, whoever asks for it.

    Nothing is taken when the replica does not charge cycles.

    Raises:
        Reject: IC0207, the canister can't pay and stay above its freezing limit.
    """
    if not call.replica.charge_cycles:
        return
    fee = MESSAGE_FEE + instructions
    missing = canister.freezing_limit + fee - canister.cycles
    if missing > 0:
        raise refuse(
            OUT_OF_CYCLES,
            f"Canister snapshotting failed with: Canister {to_text(canister.canister_id)} is out "
            f"of cycles: please top up the canister with at least {missing} additional cycles",
        )
    canister.cycles -= fee


def find_snapshot(call: Call, snapshot_id: bytes) -> tuple[CanisterState, Snapshot]:
    """Find a snapshot and the canister that it belongs to, whichever that is.

    Raises:
        Reject: IC0305, there is no such snapshot.
    """
    # The owner's id follows the counter, but only the owner knows whether the snapshot exists.
    owner = call.replica.canisters.get(snapshot_id[8:])
    found = owner.snapshots.get(snapshot_id) if owner else None
    if owner is None or found is None:
        raise refuse(
            SNAPSHOT_NOT_FOUND,
            f"Could not find the snapshot ID {snapshot_id.hex()} for canister "
            f"{to_text(call.args['canister_id'])}.",
        )
    return owner, found


def own_snapshot(call: Call, canister: CanisterState, snapshot_id: bytes) -> Snapshot:
    """Find a snapshot of this canister.

    Raises:
        Reject: IC0305 there is none, IC0406 it belongs to another canister.
    """
    owner, found = find_snapshot(call, snapshot_id)
    if owner is not canister:
        raise refuse(
            REJECTED,
            f"The snapshot {snapshot_id.hex()} does not belong to canister "
            f"{to_text(canister.canister_id)}.",
        )
    return found


def replaced_snapshot(call: Call, canister: CanisterState) -> Snapshot | None:
    """Find the snapshot that a new one takes the place of, or make sure that there is a slot.

    Raises:
        Reject: IC0305, IC0406 another canister's, or no slot.
    """
    snapshot_id: bytes | None = call.args["replace_snapshot"]
    if snapshot_id is not None:
        return own_snapshot(call, canister, snapshot_id)
    if len(canister.snapshots) >= MAX_SNAPSHOTS:
        raise refuse(
            REJECTED,
            f"Canister {to_text(canister.canister_id)} has reached the maximum number of "
            f"snapshots allowed: {MAX_SNAPSHOTS}.",
        )
    return None


def new_snapshot_id(canister: CanisterState) -> bytes:
    """Give the next snapshot id: an 8-byte counter followed by the canister's id."""
    snapshot_id = canister.next_snapshot.to_bytes(8, "big") + canister.canister_id
    canister.next_snapshot += 1
    return snapshot_id


def _module_size(canister: CanisterState) -> int:
    return len(canister.module.raw) if canister.module else 0


def _size_now(canister: CanisterState) -> int:
    """Bytes that a snapshot of the canister would count for."""
    return (
        _module_size(canister)
        + canister.heap.size
        + canister.stable.size
        + 8 * len(canister.globals)
        + len(canister.certified_data)
        + CHUNK_SIZE * len(canister.chunks)
    )


def _freed_by_uninstall(canister: CanisterState) -> int:
    sections = canister.module.custom_sections_size if canister.module else 0
    return _size_now(canister) - len(canister.certified_data) + sections


def _describe(snapshot: Snapshot) -> dict[str, object]:
    return {
        "id": snapshot.id,
        "taken_at_timestamp": snapshot.taken_at,
        "total_size": snapshot.total_size,
    }


def take(call: Call) -> tuple[object, ...]:
    """Take a snapshot; with `uninstall_code`, remove the code in the same step.

    Raises:
        Reject: IC0406 empty canister or no slot, IC0305, IC0532, IC0101, IC0207.
    """
    canister, replica = call.canister(), call.replica
    old = replaced_snapshot(call, canister)
    if canister.module is None:
        raise refuse(
            REJECTED,
            f"Failed to create snapshot for empty canister {to_text(canister.canister_id)}",
        )
    uninstall = bool(call.args["uninstall_code"])
    size = _size_now(canister)
    growth = size - (old.total_size if old else 0)
    check_growth(replica, canister, growth - (_freed_by_uninstall(canister) if uninstall else 0))
    charge(call, canister, BASELINE + size)
    snapshot = Snapshot(
        id=new_snapshot_id(canister),
        source="taken_from_canister",
        taken_at=replica.now_ns(),
        canister_version=canister.version,
        module=replica.blobs.from_bytes(canister.module.raw),
        heap=canister.heap.clone(),
        stable=canister.stable.clone(),
        globals=list(canister.globals),
        certified_data=canister.certified_data,
        global_timer=canister.global_timer,
        hook_status=canister.hook_status,
        chunks=dict(canister.chunks),
    )
    store(canister, snapshot, old)
    if uninstall:
        replica.uninstall(canister.canister_id)
        call.record(canister, "code_uninstall", {})
    return (_describe(snapshot),)


def store(canister: CanisterState, snapshot: Snapshot, replaced: Snapshot | None) -> None:
    """Add a finished snapshot; the one that it replaces goes in the same step."""
    if replaced is not None:
        del canister.snapshots[replaced.id]
    canister.snapshots[snapshot.id] = snapshot


def list_(call: Call) -> tuple[object, ...]:
    """List a canister's snapshots, oldest first."""
    return ([_describe(each) for each in call.canister().snapshots.values()],)


def delete(call: Call) -> tuple[object, ...]:
    """Delete a snapshot.

    Raises:
        Reject: IC0305, or IC0406 another canister's.
    """
    canister = call.canister()
    snapshot = own_snapshot(call, canister, call.args["snapshot_id"])
    del canister.snapshots[snapshot.id]
    return ()


def load(call: Call) -> tuple[object, ...]:
    """Put a snapshot's content in place of the canister's; no hook of the canister runs.

    The timer and the state of the low-memory hook come back from uploaded snapshots only. The
    snapshot may be another canister's, if the caller controls that one too.

    Raises:
        Reject: IC0305, IC0406 the owner is not the caller's, IC0408 or IC0505 the uploaded content
            contradicts itself, IC0532, IC0101, IC0207.
    """
    canister, replica = call.canister(), call.replica
    owner, snapshot = find_snapshot(call, call.args["snapshot_id"])
    if call.caller not in owner.controllers:
        raise refuse(
            REJECTED,
            f"Only a controller of the canister that snapshot {snapshot.id.hex()} belongs to can "
            "load it.",
        )
    check_growth(replica, canister, snapshot.total_size - _size_now(canister))
    module = snapshot.module.read(0, snapshot.module.size)
    uploaded = snapshot.source == "metadata_upload"
    if uploaded:
        _check_hook(canister, snapshot)
    charge(call, canister, BASELINE + snapshot.total_size)
    replica.replace_state(
        canister.canister_id,
        module=module,
        heap=snapshot.heap.clone(),
        stable=snapshot.stable.clone(),
        globals_=list(snapshot.globals),
        certified_data=snapshot.certified_data,
        chunks=dict(snapshot.chunks),
        global_timer=snapshot.global_timer if uploaded else None,
        hook_status=snapshot.hook_status if uploaded else None,
    )
    call.record(
        canister,
        "load_snapshot",
        {
            "snapshot_id": snapshot.id,
            "from_canister_id": None if owner is canister else owner.canister_id,
            "canister_version": snapshot.canister_version,
            "taken_at_timestamp": snapshot.taken_at,
            "source": snapshot.source,
        },
    )
    return ()


def _check_hook(canister: CanisterState, snapshot: Snapshot) -> None:
    """Refuse a hook status that the canister's limits contradict (IC0408)."""
    if snapshot.hook_status is None:
        return
    settings = canister.settings
    low = 0 < settings.wasm_memory_limit < snapshot.heap.size + settings.wasm_memory_threshold
    if low == (snapshot.hook_status is HookStatus.CONDITION_NOT_SATISFIED):
        raise refuse(
            INVALID_PAYLOAD,
            f"Failed to load snapshot {snapshot.id.hex()}: its hook status "
            f"{snapshot.hook_status.value} is inconsistent with the canister's Wasm memory limits.",
        )
