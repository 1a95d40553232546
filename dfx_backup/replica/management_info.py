"""What can be asked about a canister or the subnet; nothing here changes anything."""

from typing import Any, Final

from dfx_backup.replica.management_access import REJECTED, refuse
from dfx_backup.replica.management_call import Call, Handler
from dfx_backup.replica.management_settings import describe_settings
from dfx_backup.replica.principal import to_text
from dfx_backup.replica.state import CHUNK_SIZE, CanisterState, Change, RunState

# Bytes that a history entry counts for, without its lists (the replica's own estimate).
_CHANGE_SIZE: Final = 120
REPLICA_VERSION: Final = "dfx-backup-development-replica"
_CONSUMERS: Final = (
    "memory",
    "compute_allocation",
    "ingress_induction",
    "instructions",
    "request_and_response_transmission",
    "uninstall",
    "canister_creation",
    "http_outcalls",
    "burned_cycles",
)


def _memory_metrics(canister: CanisterState) -> dict[str, int]:
    module = canister.module
    return {
        "wasm_memory_size": canister.heap.size,
        "stable_memory_size": canister.stable.size,
        "global_memory_size": 8 * len(canister.globals),
        "wasm_binary_size": len(module.raw) if module else 0,
        "custom_sections_size": module.custom_sections_size if module else 0,
        "canister_history_size": _CHANGE_SIZE * len(canister.history),
        "wasm_chunk_store_size": CHUNK_SIZE * len(canister.chunks),
        "snapshots_size": sum(each.total_size for each in canister.snapshots.values()),
        "log_memory_store_size": canister.log_size,
    }


def canister_status(call: Call) -> tuple[object, ...]:
    """Tell all about a canister; query statistics are not kept and read as zero."""
    canister = call.canister()
    stopped = canister.status is RunState.STOPPED
    return (
        {
            "status": (canister.status.value, None),
            "version": canister.version,
            "ready_for_migration": stopped and not canister.callbacks,
            "module_hash": canister.module.sha256 if canister.module else None,
            "settings": describe_settings(canister),
            "cycles": canister.cycles,
            "reserved_cycles": canister.reserved_cycles,
            "idle_cycles_burned_per_day": canister.idle_cycles_burned_per_day,
            "memory_size": canister.memory_usage,
            "memory_metrics": _memory_metrics(canister),
            "query_stats": {
                "num_calls_total": 0,
                "num_instructions_total": 0,
                "request_payload_bytes_total": 0,
                "response_payload_bytes_total": 0,
            },
        },
    )


def _change(change: Change) -> dict[str, object]:
    if change.origin_is_canister:
        origin: tuple[str, dict[str, object]] = (
            "from_canister",
            {"canister_id": change.origin, "canister_version": change.origin_version},
        )
    else:
        origin = ("from_user", {"user_id": change.origin})
    details: Any = dict(change.details)
    if change.kind == "code_uninstall":
        details = None
    for name in ("mode", "source"):
        if details and name in details:
            details[name] = (details[name], None)
    return {
        "timestamp_nanos": change.timestamp,
        "canister_version": change.canister_version,
        "origin": origin,
        "details": (change.kind, details),
    }


def canister_info(call: Call) -> tuple[object, ...]:
    """Tell what is public about a canister: controllers, module hash, recent changes."""
    canister = call.canister()
    wanted = min(call.args["num_requested_changes"] or 0, len(canister.history))
    changes = list(canister.history)[len(canister.history) - wanted :]
    return (
        {
            "controllers": list(canister.controllers),
            "module_hash": canister.module.sha256 if canister.module else None,
            "total_num_changes": canister.total_changes,
            "recent_changes": [_change(each) for each in changes],
        },
    )


def canister_metadata(call: Call) -> tuple[object, ...]:
    """Give a metadata section of the module; private ones to controllers only.

    Raises:
        Reject: IC0406, there is none for this caller.
    """
    canister = call.canister()
    name: str = call.args["name"]
    found = canister.module.metadata.get(name) if canister.module else None
    if found is None or not (found[0] or call.caller in canister.controllers):
        text = f"Canister {to_text(canister.canister_id)} has no metadata section {name!r}."
        raise refuse(REJECTED, text)
    return ({"value": found[1]},)


def canister_metrics(call: Call) -> tuple[object, ...]:
    """Tell the consumed cycles; the replica keeps no such accounts, so all are zero."""
    call.canister()
    return ({"cycles_consumed": dict.fromkeys(_CONSUMERS, 0)},)


def fetch_canister_logs(call: Call) -> tuple[object, ...]:
    """Give log lines; a filter is a half-open range of indices or times.

    Raises:
        Reject: IC0408, a range that ends before it begins.
    """
    records = list(call.canister().logs)
    chosen = call.args["filter"]
    if chosen is not None:
        kind, wanted = chosen
        start, end = wanted["start"], wanted["end"]
        if start > end:
            raise refuse(408, f"Invalid range: start {start} is greater than end {end}")
        records = [
            each
            for each in records
            if start <= (each.index if kind == "by_idx" else each.timestamp) < end
        ]
    return (
        {
            "canister_log_records": [
                {"idx": each.index, "timestamp_nanos": each.timestamp, "content": each.content}
                for each in records
            ]
        },
    )


def raw_rand(call: Call) -> tuple[object, ...]:
    """Give 32 random bytes."""
    return (call.random_bytes(32),)


def list_canisters(call: Call) -> tuple[object, ...]:
    """Give the ids of all canisters; every id is a range of its own."""
    ids = sorted(call.replica.canisters)
    return ({"canisters": [{"start": each, "end": each} for each in ids]},)


def _check_subnet(call: Call) -> None:
    if call.args["subnet_id"] != call.replica.subnet_id:
        raise refuse(REJECTED, f"Subnet {to_text(call.args['subnet_id'])} is not this subnet.")


def node_metrics_history(call: Call) -> tuple[object, ...]:
    """Give no entries: there are no blocks that nodes could fail to make."""
    _check_subnet(call)
    return ([],)


def subnet_metrics(call: Call) -> tuple[object, ...]:
    """Tell how many canisters there are and what they hold."""
    _check_subnet(call)
    canisters = call.replica.canisters.values()
    return (
        {
            "block_height": 0,
            "num_canisters": len(canisters),
            "canister_state_bytes": sum(each.memory_usage for each in canisters),
            "consumed_cycles_total": 0,
            "update_transactions_total": 0,
        },
    )


def subnet_info(call: Call) -> tuple[object, ...]:
    """Tell the replica's version."""
    _check_subnet(call)
    return ({"replica_version": REPLICA_VERSION, "registry_version": 0},)


HANDLERS: Final[dict[str, Handler]] = {
    "canister_status": canister_status,
    "canister_info": canister_info,
    "canister_metadata": canister_metadata,
    "canister_metrics": canister_metrics,
    "fetch_canister_logs": fetch_canister_logs,
    "raw_rand": raw_rand,
    "list_canisters": list_canisters,
    "node_metrics_history": node_metrics_history,
    "subnet_metrics": subnet_metrics,
    "subnet_info": subnet_info,
}
