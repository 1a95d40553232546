"""Candid types of the management canister's methods, as far as we call them.

What we read is `opt` wherever we can do without it: replies gain and lose fields over the years.
(Interface spec, "The IC management canister".)
"""

from typing import Literal

from dfx_backup.ic.candid import (
    BLOB,
    BOOL,
    FLOAT32_BITS,
    FLOAT64_BITS,
    INT32,
    INT64,
    NAT,
    NAT64,
    NULL,
    PRINCIPAL,
    RESERVED,
    TEXT,
    Opt,
    Value,
    Vec,
    record,
    variant,
)

_VISIBILITY = variant({"controllers": NULL, "public": NULL, "allowed_viewers": Vec(PRINCIPAL)})

SETTINGS = record(
    {
        "controllers": Opt(Vec(PRINCIPAL)),
        "compute_allocation": Opt(NAT),
        "memory_allocation": Opt(NAT),
        "freezing_threshold": Opt(NAT),
        "reserved_cycles_limit": Opt(NAT),
        "minimum_incoming_canister_call_cycles": Opt(NAT),
        "log_visibility": Opt(_VISIBILITY),
        "log_memory_limit": Opt(NAT),
        "snapshot_visibility": Opt(_VISIBILITY),
        "status_visibility": Opt(_VISIBILITY),
        "wasm_memory_limit": Opt(NAT),
        "wasm_memory_threshold": Opt(NAT),
        "environment_variables": Opt(Vec(record({"name": TEXT, "value": TEXT}))),
    }
)

STATUS = record(
    {
        "status": variant({"running": NULL, "stopping": NULL, "stopped": NULL}),
        "version": Opt(NAT64),
        "settings": SETTINGS,
        "module_hash": Opt(BLOB),
        "memory_size": Opt(NAT),
        "memory_metrics": Opt(
            record(
                {
                    "snapshots_size": Opt(NAT),
                    "wasm_memory_size": Opt(NAT),
                    "stable_memory_size": Opt(NAT),
                    "wasm_binary_size": Opt(NAT),
                }
            )
        ),
        "cycles": Opt(NAT),
        "reserved_cycles": Opt(NAT),
        "idle_cycles_burned_per_day": Opt(NAT),
    }
)

CANISTER = record({"canister_id": PRINCIPAL})
CANISTER_AND_SNAPSHOT = record({"canister_id": PRINCIPAL, "snapshot_id": BLOB})

SNAPSHOT = record({"id": BLOB, "taken_at_timestamp": NAT64, "total_size": NAT64})
SNAPSHOTS = Vec(SNAPSHOT)

TAKE_ARGS = record(
    {
        "canister_id": PRINCIPAL,
        "replace_snapshot": Opt(BLOB),
        "uninstall_code": Opt(BOOL),
        "sender_canister_version": Opt(NAT64),
    }
)
LOAD_ARGS = record(
    {"canister_id": PRINCIPAL, "snapshot_id": BLOB, "sender_canister_version": Opt(NAT64)}
)

GLOBAL = variant(
    {"i32": INT32, "i64": INT64, "f32": FLOAT32_BITS, "f64": FLOAT64_BITS, "v128": NAT}
)
_TIMER = Opt(variant({"inactive": NULL, "active": NAT64}))
_HOOK = Opt(variant({"condition_not_satisfied": NULL, "ready": NULL, "executed": NULL}))

METADATA = record(
    {
        "source": Opt(variant({"taken_from_canister": RESERVED, "metadata_upload": RESERVED})),
        "taken_at_timestamp": NAT64,
        "wasm_module_size": NAT64,
        "globals": Vec(Opt(GLOBAL)),
        "wasm_memory_size": NAT64,
        "stable_memory_size": NAT64,
        "wasm_chunk_store": Vec(record({"hash": BLOB})),
        "canister_version": NAT64,
        "certified_data": BLOB,
        "global_timer": _TIMER,
        "on_low_wasm_memory_hook_status": _HOOK,
    }
)
UPLOAD_METADATA_ARGS = record(
    {
        "canister_id": PRINCIPAL,
        "replace_snapshot": Opt(BLOB),
        "wasm_module_size": NAT64,
        "globals": Vec(GLOBAL),
        "wasm_memory_size": NAT64,
        "stable_memory_size": NAT64,
        "certified_data": BLOB,
        "global_timer": _TIMER,
        "on_low_wasm_memory_hook_status": _HOOK,
    }
)
UPLOAD_METADATA_RESULT = record({"snapshot_id": BLOB})

_READ_RANGE = record({"offset": NAT64, "size": NAT64})
READ_DATA_ARGS = record(
    {
        "canister_id": PRINCIPAL,
        "snapshot_id": BLOB,
        "kind": variant(
            {
                "wasm_module": _READ_RANGE,
                "wasm_memory": _READ_RANGE,
                "stable_memory": _READ_RANGE,
                "wasm_chunk": record({"hash": BLOB}),
            }
        ),
    }
)
READ_DATA_RESULT = record({"chunk": BLOB})

_UPLOAD_PLACE = record({"offset": NAT64})
UPLOAD_DATA_ARGS = record(
    {
        "canister_id": PRINCIPAL,
        "snapshot_id": BLOB,
        "kind": variant(
            {
                "wasm_module": _UPLOAD_PLACE,
                "wasm_memory": _UPLOAD_PLACE,
                "stable_memory": _UPLOAD_PLACE,
                "wasm_chunk": NULL,
            }
        ),
        "chunk": BLOB,
    }
)

UPDATE_SETTINGS_ARGS = record(
    {"canister_id": PRINCIPAL, "settings": SETTINGS, "sender_canister_version": Opt(NAT64)}
)
CREATE_ARGS = record(
    {
        "amount": Opt(NAT),
        "settings": Opt(SETTINGS),
        "specified_id": Opt(PRINCIPAL),
        "sender_canister_version": Opt(NAT64),
    }
)
CREATE_RESULT = record({"canister_id": PRINCIPAL})

_INSTALL_MODE = variant(
    {
        "install": NULL,
        "reinstall": NULL,
        "upgrade": Opt(
            record(
                {
                    "skip_pre_upgrade": Opt(BOOL),
                    "wasm_memory_persistence": Opt(variant({"keep": NULL, "replace": NULL})),
                }
            )
        ),
    }
)
INSTALL_ARGS = record(
    {
        "mode": _INSTALL_MODE,
        "canister_id": PRINCIPAL,
        "wasm_module": BLOB,
        "arg": BLOB,
        "sender_canister_version": Opt(NAT64),
    }
)
CHUNK_HASH = record({"hash": BLOB})
UPLOAD_CHUNK_ARGS = record({"canister_id": PRINCIPAL, "chunk": BLOB})
INSTALL_CHUNKED_ARGS = record(
    {
        "mode": _INSTALL_MODE,
        "target_canister": PRINCIPAL,
        "store_canister": Opt(PRINCIPAL),
        "chunk_hashes_list": Vec(CHUNK_HASH),
        "wasm_module_hash": BLOB,
        "arg": BLOB,
        "sender_canister_version": Opt(NAT64),
    }
)

InstallMode = Literal["install", "reinstall", "upgrade"]


def upgrade_options(mode: InstallMode, skip: bool | None, keep: bool | None) -> Value:  # noqa: FBT001 # passed on from keywords
    """What the variant of `install_code` holds: only an upgrade has options."""
    if mode != "upgrade" or (skip is None and keep is None):
        return None
    persistence = None if keep is None else ("keep" if keep else "replace", None)
    return {"skip_pre_upgrade": skip, "wasm_memory_persistence": persistence}
