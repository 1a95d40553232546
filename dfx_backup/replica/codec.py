"""Canister state as CBOR documents for the state directory.

Large or immutable content is not in the documents: blobs are named by their file, module bytes
and chunks by their SHA-256. A canister has three documents, so that an ordinary message rewrites
the small "hot" one only: hot (balance, globals, calls), cold (settings, snapshots, history), log.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any, cast

import cbor2

from dfx_backup.replica.calls import (
    Callback,
    CallContext,
    CanisterOrigin,
    IngressOrigin,
    LocalOrigin,
    Origin,
    Request,
    Response,
    StopWaiter,
    SystemOrigin,
)
from dfx_backup.replica.memory import Blob
from dfx_backup.replica.reject import Reject
from dfx_backup.replica.state import (
    CanisterState,
    Change,
    GlobalValue,
    HookStatus,
    LogRecord,
    RunState,
    Settings,
    Snapshot,
    Visibility,
)

Documents = dict[str, bytes | None]
"""Content by name; None removes."""

OpenBlob = Callable[[str, int], Blob]
"""Opens a blob by file name and cuts it to a size."""

ReadObject = Callable[[bytes], bytes]
"""Content by its SHA-256."""

_ORIGINS: tuple[type[Any], ...] = (IngressOrigin, CanisterOrigin, SystemOrigin)
_LONG_REPLY = 4096
_VISIBILITIES = ("log_visibility", "snapshot_visibility", "status_visibility")


def hot(canister: CanisterState) -> bytes:
    """What ordinary messages change."""
    return cbor2.dumps(
        {
            "status": canister.status.value,
            "version": canister.version,
            "cycles": canister.cycles,
            "reserved": canister.reserved_cycles,
            "heap": [canister.heap.name, canister.heap.size],
            "stable": [canister.stable.name, canister.stable.size],
            "globals": [[each.type, each.bits] for each in canister.globals],
            "certified_data": canister.certified_data,
            "timer": canister.global_timer,
            "hook": canister.hook_status.value,
            "contexts": [_context(each) for each in canister.contexts.values()],
            "callbacks": [_plain(each) for each in canister.callbacks.values()],
            "waiters": [
                [_origin(each.origin), each.deadline]
                for each in canister.stop_waiters
                if not isinstance(each.origin, LocalOrigin)
            ],
        }
    )


def cold(canister: CanisterState) -> bytes:
    """What the management canister changes."""
    return cbor2.dumps(
        {
            "controllers": canister.controllers,
            "created_at": canister.created_at,
            "installed_at": canister.last_install_at,
            "settings": _settings(canister.settings),
            "module": canister.module.sha256 if canister.module else None,
            "chunks": list(canister.chunks),
            "snapshots": [_snapshot(each) for each in canister.snapshots.values()],
            "next_snapshot": canister.next_snapshot,
            "history": [_plain(each) for each in canister.history],
            "total_changes": canister.total_changes,
        }
    )


def log(canister: CanisterState) -> bytes:
    """The canister's log."""
    return cbor2.dumps([canister.next_log_index, [_plain(each) for each in canister.logs]])


def objects(canister: CanisterState) -> Iterable[tuple[bytes, bytes]]:
    """Immutable content that the documents name: (SHA-256, bytes)."""
    if canister.module:
        yield canister.module.sha256, canister.module.raw
    yield from canister.chunks.items()
    for snapshot in canister.snapshots.values():
        yield from snapshot.chunks.items()


def queue(entries: Iterable[Request | Response]) -> bytes:
    """Messages between canisters that did not run yet."""
    return cbor2.dumps(
        [
            ["request", _plain(each)]
            if isinstance(each, Request)
            else ["response", {**_plain(each), "result": _result(each.result)}]
            for each in entries
        ]
    )


def read_queue(document: bytes) -> list[Request | Response]:
    """The inverse of `queue`."""
    entries: list[Request | Response] = []
    for kind, content in cbor2.loads(document):
        if kind == "request":
            entries.append(Request(**content))
        else:
            entries.append(Response(**{**content, "result": _read_result(content["result"])}))
    return entries


def answer(memo: bytes, finished_ns: int, result: bytes | Reject) -> bytes:
    """An answer to a user; long replies are left out."""
    is_long = isinstance(result, bytes) and len(result) > _LONG_REPLY
    return cbor2.dumps([memo, finished_ns, None if is_long else _result(result)])


def read_answer(document: bytes) -> tuple[bytes, int, bytes | Reject | None]:
    """The inverse of `answer`; None stands for a long reply."""
    memo, finished_ns, plain = cbor2.loads(document)
    return memo, finished_ns, None if plain is None else _read_result(plain)


def numbers(next_number: int, canisters_created: int, last_ns: int) -> bytes:
    """Counters that must not go back."""
    return cbor2.dumps([next_number, canisters_created, last_ns])


def read_numbers(document: bytes) -> tuple[int, int, int]:
    """The inverse of `numbers`."""
    next_number, canisters_created, last_ns = cbor2.loads(document)
    return next_number, canisters_created, last_ns


def read_canister(
    canister_id: bytes,
    documents: tuple[bytes, bytes, bytes],
    open_blob: OpenBlob,
    read_object: ReadObject,
) -> tuple[CanisterState, bytes | None]:
    """Rebuild a canister from its hot, cold and log documents.

    Returns:
        The canister without its module, and the module's bytes.
    """
    warm, still, lines = (cbor2.loads(each) for each in documents)
    canister = CanisterState(
        canister_id=canister_id,
        controllers=list(still["controllers"]),
        cycles=warm["cycles"],
        created_at=still["created_at"],
        heap=open_blob(*warm["heap"]),
        stable=open_blob(*warm["stable"]),
        settings=_read_settings(still["settings"]),
        status=RunState(warm["status"]),
        version=warm["version"],
        globals=[GlobalValue(*each) for each in warm["globals"]],
        certified_data=warm["certified_data"],
        global_timer=warm["timer"],
        hook_status=HookStatus(warm["hook"]),
        last_install_at=still["installed_at"],
        reserved_cycles=warm["reserved"],
        chunks={each: read_object(each) for each in still["chunks"]},
        next_snapshot=still["next_snapshot"],
        total_changes=still["total_changes"],
        logs=deque(LogRecord(**each) for each in lines[1]),
        next_log_index=lines[0],
        contexts={each["id"]: _read_context(each) for each in warm["contexts"]},
        callbacks={each["id"]: _read_callback(each) for each in warm["callbacks"]},
        stop_waiters=[
            StopWaiter(origin=_read_origin(origin), deadline=deadline)
            for origin, deadline in warm["waiters"]
        ],
    )
    canister.history.extend(Change(**_thaw(each)) for each in still["history"])
    for each in still["snapshots"]:
        snapshot = _read_snapshot(each, open_blob, read_object)
        canister.snapshots[snapshot.id] = snapshot
    return canister, read_object(still["module"]) if still["module"] else None


def blob_names(canister: CanisterState) -> Iterable[str]:
    """Files that the canister needs."""
    yield from (canister.heap.name, canister.stable.name)
    for snapshot in canister.snapshots.values():
        yield from (blob.name for blob in snapshot.blobs())


def _plain(value: Any) -> dict[str, Any]:  # noqa: ANN401 - any flat dataclass
    return {each.name: getattr(value, each.name) for each in fields(value)}


def _origin(origin: Origin) -> list[Any]:
    if isinstance(origin, LocalOrigin):
        return [_ORIGINS.index(SystemOrigin)]  # the caller is gone with its process
    return [_ORIGINS.index(type(origin)), *_plain(origin).values()]


def _read_origin(plain: list[Any]) -> Origin:
    return cast("Origin", _ORIGINS[plain[0]](*plain[1:]))


def _context(context: CallContext) -> dict[str, Any]:
    return {**_plain(context), "origin": _origin(context.origin)}


def _read_context(plain: dict[str, Any]) -> CallContext:
    return CallContext(**{**plain, "origin": _read_origin(plain["origin"])})


def _read_callback(plain: dict[str, Any]) -> Callback:
    closures = {
        key: tuple(plain[key]) if plain[key] else None for key in ("reply", "reject", "cleanup")
    }
    return Callback(**{**plain, **closures})


def _result(result: bytes | Reject) -> list[Any]:
    if isinstance(result, Reject):
        return [result.code, result.message, result.error_code]
    return [result]


def _read_result(plain: list[Any]) -> bytes | Reject:
    return Reject(*plain) if len(plain) > 1 else cast("bytes", plain[0])


def _settings(settings: Settings) -> dict[str, Any]:
    plain = _plain(settings)
    for key in _VISIBILITIES:
        plain[key] = [plain[key].kind, list(plain[key].viewers)]
    return plain


def _read_settings(plain: dict[str, Any]) -> Settings:
    content = dict(plain)
    for key in _VISIBILITIES:
        kind, viewers = content[key]
        content[key] = Visibility(kind=kind, viewers=tuple(viewers))
    variables = content["environment_variables"]
    content["environment_variables"] = tuple((name, value) for name, value in variables)
    return Settings(**content)


def _snapshot(snapshot: Snapshot) -> dict[str, Any]:
    return {
        **_plain(snapshot),
        "module": [snapshot.module.name, snapshot.module.size],
        "heap": [snapshot.heap.name, snapshot.heap.size],
        "stable": [snapshot.stable.name, snapshot.stable.size],
        "globals": [[each.type, each.bits] for each in snapshot.globals],
        "hook_status": snapshot.hook_status.value if snapshot.hook_status else None,
        "chunks": list(snapshot.chunks),
    }


def _read_snapshot(plain: dict[str, Any], open_blob: OpenBlob, read_object: ReadObject) -> Snapshot:
    return Snapshot(
        **{
            **plain,
            "module": open_blob(*plain["module"]),
            "heap": open_blob(*plain["heap"]),
            "stable": open_blob(*plain["stable"]),
            "globals": [GlobalValue(*each) for each in plain["globals"]],
            "hook_status": HookStatus(plain["hook_status"]) if plain["hook_status"] else None,
            "chunks": {each: read_object(each) for each in plain["chunks"]},
        }
    )


def _thaw(value: Any) -> Any:  # noqa: ANN401 - CBOR content
    """Lists and dicts as they were saved, where the decoder gives immutable ones."""
    if isinstance(value, dict):
        return {key: _thaw(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_thaw(each) for each in value]
    return value
