"""The management canister in the model's terms; every answer is certified."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from dfx_backup.errors import NetworkError
from dfx_backup.ic import management_types as types
from dfx_backup.ic import retry as retries
from dfx_backup.ic import snapshot_metadata
from dfx_backup.ic.candid import Type, Value, decode, encode
from dfx_backup.ic.canister_settings import (
    CanisterSettings,
    FullStatus,
    settings_to_candid,
    status_from_candid,
)
from dfx_backup.ic.code_install import (
    CHANGE_EXPIRY_S,
    HELD_EXPIRY_S,
    BeforeSend,
    CodeInstaller,
)
from dfx_backup.ic.principal import MANAGEMENT, Principal
from dfx_backup.ic.snapshot_metadata import SnapshotMetadata
from dfx_backup.ic.snapshot_parts import ReadPart, UploadPlace
from dfx_backup.model import (
    CanisterId,
    CanisterSnapshot,
    CanisterStatus,
    SnapshotId,
)

START_TIMEOUT_S = 30.0
"""A start is harmless twice, so its callers try again rather than wait for a lost answer."""
READ_EXPIRY_S = 120.0
"""Seconds for which a call that only reads can execute."""
READ_TIMEOUT_S = 120.0
"""Seconds after which a call that only reads is given up."""
MAX_SLICE_BYTES = 2_000_000
"""Most bytes of a snapshot that one call reads or uploads."""


class Caller(Protocol):
    """What the management canister needs of an agent."""

    def call(
        self,
        canister: Principal,
        method: str,
        arg: bytes,
        *,
        effective: Principal | None = None,
        expiry_s: float = ...,
        before_send: BeforeSend | None = None,
        timeout_s: float | None = None,
    ) -> bytes:
        """Make an update call and return its certified reply."""

    def watch(self, listener: Callable[[NetworkError], None]) -> AbstractContextManager[None]:
        """Tell a listener of every request that fails, until the block ends."""


class ManagementCanister(CodeInstaller):
    """Calls the management canister on behalf of an agent's identity.

    Every method raises `RejectError` when the call was refused, `UnknownOutcomeError` when it was
    sent and its outcome could not be learnt, `CandidError` when the answer can't be read, and
    another `NetworkError` when nothing was executed. Refusals that pass by themselves, such as a
    canister's heap delta limit, are tried again; then `before_send` is called once for each try.

    Args:
        agent: makes the calls.
        retry: how often such refusals are tried again.
    """

    def __init__(self, agent: Caller, *, retry: retries.RetryPolicy | None = None) -> None:
        self._agent = agent
        self._retry = retry or retries.RetryPolicy()

    def watch(self, listener: Callable[[NetworkError], None]) -> AbstractContextManager[None]:
        """Tell a listener of every request that fails, also when it is made again."""
        return self._agent.watch(listener)

    def status(self, canister: CanisterId, *, within_s: float | None = None) -> CanisterStatus:
        """`canister_status`; with `within_s` asked once, and given up after so many seconds."""
        return self.full_status(canister, within_s=within_s).status

    def full_status(self, canister: CanisterId, *, within_s: float | None = None) -> FullStatus:
        """`canister_status`, with the settings, which no snapshot holds."""
        about = _about(canister)
        found = self._read(canister, "canister_status", about, types.STATUS, within_s=within_s)
        return status_from_candid(found)

    def stop(
        self, canister: CanisterId, *, timeout_s: float, before_send: BeforeSend | None = None
    ) -> None:
        """`stop_canister`; returns when the canister is stopped.

        Raises:
            UnknownOutcomeError: also when `timeout_s` passed: the canister may be stopping.
        """
        self._change(
            canister,
            "stop_canister",
            _about(canister),
            before_send=before_send,
            expiry_s=HELD_EXPIRY_S,
            timeout_s=timeout_s,
        )

    def start(self, canister: CanisterId, *, before_send: BeforeSend | None = None) -> None:
        """`start_canister`; a running canister is left as it is."""
        self._change(
            canister,
            "start_canister",
            _about(canister),
            before_send=before_send,
            expiry_s=HELD_EXPIRY_S,
            timeout_s=START_TIMEOUT_S,
        )

    def take_snapshot(
        self,
        canister: CanisterId,
        *,
        replace: SnapshotId | None = None,
        uninstall_code: bool = False,
        before_send: BeforeSend | None = None,
    ) -> CanisterSnapshot:
        """`take_canister_snapshot`.

        Args:
            canister: of which canister.
            replace: a snapshot that is deleted in the same step.
            uninstall_code: empty the canister in the same step.
            before_send: see `BeforeSend`.
        """
        record = {
            "canister_id": _principal(canister),
            "replace_snapshot": None if replace is None else _snapshot_bytes(replace),
            "uninstall_code": True if uninstall_code else None,
        }
        arg = encode([types.TAKE_ARGS], [record])
        method = "take_canister_snapshot"
        reply = self._change(canister, method, arg, before_send=before_send, expiry_s=HELD_EXPIRY_S)
        return _snapshot(_one(types.SNAPSHOT, reply))

    def load_snapshot(
        self,
        canister: CanisterId,
        snapshot: SnapshotId,
        *,
        before_send: BeforeSend | None = None,
    ) -> None:
        """`load_canister_snapshot`."""
        record = {"canister_id": _principal(canister), "snapshot_id": _snapshot_bytes(snapshot)}
        arg = encode([types.LOAD_ARGS], [record])
        method = "load_canister_snapshot"
        self._change(canister, method, arg, before_send=before_send, expiry_s=HELD_EXPIRY_S)

    def list_snapshots(self, canister: CanisterId) -> tuple[CanisterSnapshot, ...]:
        """`list_canister_snapshots`, oldest first."""
        found = self._read(canister, "list_canister_snapshots", _about(canister), types.SNAPSHOTS)
        told = [_snapshot(each) for each in found]
        return tuple(sorted(told, key=lambda each: (each.taken_at_ns or 0, each.snapshot_id)))

    def delete_snapshot(
        self,
        canister: CanisterId,
        snapshot: SnapshotId,
        *,
        before_send: BeforeSend | None = None,
    ) -> None:
        """`delete_canister_snapshot`."""
        arg = _canister_and_snapshot(canister, snapshot)
        self._change(canister, "delete_canister_snapshot", arg, before_send=before_send)

    def read_snapshot_metadata(
        self, canister: CanisterId, snapshot: SnapshotId
    ) -> SnapshotMetadata:
        """`read_canister_snapshot_metadata`."""
        arg = _canister_and_snapshot(canister, snapshot)
        method = "read_canister_snapshot_metadata"
        return snapshot_metadata.from_candid(self._read(canister, method, arg, types.METADATA))

    def read_snapshot_data(
        self, canister: CanisterId, snapshot: SnapshotId, part: ReadPart
    ) -> bytes:
        """`read_canister_snapshot_data`: the bytes of one part, at most `MAX_SLICE_BYTES`.

        Raises:
            NetworkError: the certified answer does not have the size that was asked for.
        """
        record = {
            "canister_id": _principal(canister),
            "snapshot_id": _snapshot_bytes(snapshot),
            "kind": part.to_candid(),
        }
        arg = encode([types.READ_DATA_ARGS], [record])
        found = self._read(canister, "read_canister_snapshot_data", arg, types.READ_DATA_RESULT)
        chunk: bytes = found["chunk"]
        part.check(chunk)
        return chunk

    def upload_snapshot_metadata(
        self,
        canister: CanisterId,
        metadata: SnapshotMetadata,
        *,
        replace: SnapshotId | None = None,
        before_send: BeforeSend | None = None,
    ) -> SnapshotId:
        """`upload_canister_snapshot_metadata`: a new snapshot whose memories are all zero."""
        record = snapshot_metadata.to_candid(metadata)
        record["canister_id"] = _principal(canister)
        record["replace_snapshot"] = None if replace is None else _snapshot_bytes(replace)
        arg = encode([types.UPLOAD_METADATA_ARGS], [record])
        method = "upload_canister_snapshot_metadata"
        reply = self._change(canister, method, arg, before_send=before_send)
        return SnapshotId(_one(types.UPLOAD_METADATA_RESULT, reply)["snapshot_id"].hex())

    def upload_snapshot_data(
        self, canister: CanisterId, snapshot: SnapshotId, place: UploadPlace, chunk: bytes
    ) -> None:
        """`upload_canister_snapshot_data`: at most `MAX_SLICE_BYTES` into an uploaded snapshot."""
        record = {
            "canister_id": _principal(canister),
            "snapshot_id": _snapshot_bytes(snapshot),
            "kind": place.to_candid(),
            "chunk": chunk,
        }
        arg = encode([types.UPLOAD_DATA_ARGS], [record])
        del chunk, record  # it has been copied, and the call can take long
        self._change(canister, "upload_canister_snapshot_data", arg)

    def update_settings(self, canister: CanisterId, settings: CanisterSettings) -> None:
        """`update_settings`; what is None stays as it is."""
        record = {"canister_id": _principal(canister), "settings": settings_to_candid(settings)}
        arg = encode([types.UPDATE_SETTINGS_ARGS], [record])
        self._change(canister, "update_settings", arg)

    def create(
        self,
        *,
        cycles: int | None = None,
        settings: CanisterSettings | None = None,
        specified_id: CanisterId | None = None,
    ) -> CanisterId:
        """`provisional_create_canister_with_cycles`, for development networks."""
        wanted = None if specified_id is None else _principal(specified_id)
        record = {
            "amount": cycles,
            "settings": None if settings is None else settings_to_candid(settings),
            "specified_id": wanted,
        }
        arg = encode([types.CREATE_ARGS], [record])
        method = "provisional_create_canister_with_cycles"
        reply = self._agent.call(MANAGEMENT, method, arg, effective=wanted or MANAGEMENT)
        return CanisterId(str(_one(types.CREATE_RESULT, reply)["canister_id"]))

    def delete_canister(self, canister: CanisterId) -> None:
        """`delete_canister`; it has to be stopped."""
        self._change(canister, "delete_canister", _about(canister))

    def _change(
        self,
        canister: CanisterId,
        method: str,
        arg: bytes,
        *,
        before_send: BeforeSend | None = None,
        expiry_s: float = CHANGE_EXPIRY_S,
        timeout_s: float | None = None,
    ) -> bytes:
        effective = _principal(canister)
        return self._retry.run(
            lambda: self._agent.call(
                MANAGEMENT,
                method,
                arg,
                effective=effective,
                expiry_s=expiry_s,
                before_send=before_send,
                timeout_s=timeout_s,
            ),
            passes=retries.rejection_passes,
        )

    def _read(
        self,
        canister: CanisterId,
        method: str,
        arg: bytes,
        result: Type,
        *,
        within_s: float | None = None,
    ) -> Value:
        effective = _principal(canister)
        reply = (self._retry if within_s is None else retries.NO_RETRY).run(
            lambda: self._agent.call(
                MANAGEMENT,
                method,
                arg,
                effective=effective,
                expiry_s=READ_EXPIRY_S,
                timeout_s=READ_TIMEOUT_S if within_s is None else within_s,
            ),
            passes=retries.rejection_passes_for_reads,
        )
        return _one(result, reply)


def _one(type_: Type, reply: bytes) -> Value:
    return decode(reply, [type_])[0]


def _principal(canister: CanisterId) -> Principal:
    return Principal.from_text(canister)


def _about(canister: CanisterId) -> bytes:
    return encode([types.CANISTER], [{"canister_id": _principal(canister)}])


def _snapshot_bytes(snapshot: SnapshotId) -> bytes:
    try:
        return bytes.fromhex(snapshot)
    except ValueError:
        raise NetworkError(f"{snapshot!r} is no snapshot id") from None


def _snapshot(found: Value) -> CanisterSnapshot:
    return CanisterSnapshot(
        snapshot_id=SnapshotId(found["id"].hex()),
        taken_at_ns=found["taken_at_timestamp"],
        size_bytes=found["total_size"],
    )


def _canister_and_snapshot(canister: CanisterId, snapshot: SnapshotId) -> bytes:
    record = {"canister_id": _principal(canister), "snapshot_id": _snapshot_bytes(snapshot)}
    return encode([types.CANISTER_AND_SNAPSHOT], [record])
