"""The part of the management canister that moves snapshots, over a subnet in memory.

A canister's heap is its `content` in whole pages; its module is the shortest there is.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from dfx_backup.drivers.base import BeforeSend, ignore_sent
from dfx_backup.errors import NetworkError
from dfx_backup.ic.canister_settings import CanisterSettings, FullStatus
from dfx_backup.ic.snapshot_metadata import (
    GlobalTimer,
    HookStatus,
    SnapshotMetadata,
    SnapshotSource,
)
from dfx_backup.ic.snapshot_parts import ReadPart, Section, Slice, UploadPlace
from dfx_backup.model import CanisterId, SnapshotId
from tests.fakes.memory_management import (
    MemoryCanister,
    MemoryManagement,
    MemorySnapshot,
    _find,
    reject,
)

MODULE = b"\0asm"
PAGE = 65536
GIB = 1 << 30


@dataclass(slots=True, kw_only=True)
class Uploaded:
    """What an uploaded snapshot holds."""

    metadata: SnapshotMetadata
    sections: dict[Section, bytearray]


class MemoryTransfer(MemoryManagement):
    """`MemoryManagement`, with slices and settings.

    Attributes:
        settings: of every canister.
    """

    settings = CanisterSettings(wasm_memory_limit=3 * GIB, wasm_memory_threshold=0)

    def full_status(self, canister: CanisterId, *, within_s: float | None = None) -> FullStatus:
        return FullStatus(status=self.status(canister, within_s=within_s), settings=self.settings)

    def watch(self, listener: Callable[[NetworkError], None]) -> AbstractContextManager[None]:
        del listener
        return nullcontext()

    def install_code(self, canister: CanisterId, module: bytes, **_more: Any) -> None:
        def install(target: MemoryCanister) -> None:
            target.module_hash = module.hex()

        self._call("install_code", canister, install)

    def read_snapshot_metadata(  # type: ignore[override] # it tells more
        self, canister: CanisterId, snapshot: SnapshotId
    ) -> SnapshotMetadata:
        return self._call(
            "read_canister_snapshot_metadata",
            canister,
            lambda target: _metadata(_find(target, snapshot)),
        )

    def read_snapshot_data(
        self, canister: CanisterId, snapshot: SnapshotId, part: ReadPart
    ) -> bytes:
        assert isinstance(part, Slice)

        def read(target: MemoryCanister) -> bytes:
            whole = _sections(_find(target, snapshot))[part.section]
            return bytes(whole[part.offset : part.offset + part.size])

        return self._call("read_canister_snapshot_data", canister, read)

    def upload_snapshot_metadata(
        self,
        canister: CanisterId,
        metadata: SnapshotMetadata,
        *,
        replace: SnapshotId | None = None,
        before_send: BeforeSend | None = None,
    ) -> SnapshotId:
        def make(target: MemoryCanister) -> SnapshotId:
            made = self._take(target, replace)
            made.upload = _uploaded(metadata, made)
            made.content = b""
            return made.snapshot_id

        method = "upload_canister_snapshot_metadata"
        return self._call(method, canister, make, before_send=before_send or ignore_sent)

    def upload_snapshot_data(
        self, canister: CanisterId, snapshot: SnapshotId, place: UploadPlace, chunk: bytes
    ) -> None:
        def put(target: MemoryCanister) -> None:
            found = _find(target, snapshot)
            if found.upload is None:
                raise reject(4, "IC0409", "Only canister snapshots created by upload can change")
            assert place.section is not None
            found.upload.sections[place.section][place.offset : place.offset + len(chunk)] = chunk

        self._call("upload_canister_snapshot_data", canister, put)


def _uploaded(metadata: SnapshotMetadata, made: MemorySnapshot) -> Uploaded:
    sizes = {
        Section.WASM_MODULE: metadata.wasm_module_size,
        Section.WASM_MEMORY: metadata.wasm_memory_size,
        Section.STABLE_MEMORY: metadata.stable_memory_size,
    }
    return Uploaded(
        metadata=replace(
            metadata,
            source=SnapshotSource.METADATA_UPLOAD,
            taken_at_ns=made.taken_at_ns,
            canister_version=made.version,
        ),
        sections={section: bytearray(size) for section, size in sizes.items()},
    )


def _sections(snapshot: MemorySnapshot) -> dict[Section, bytearray]:
    if snapshot.upload is not None:
        return dict(snapshot.upload.sections)
    heap = snapshot.content.ljust(-(-len(snapshot.content) // PAGE) * PAGE, b"\0")
    return {
        Section.WASM_MODULE: bytearray(MODULE),
        Section.WASM_MEMORY: bytearray(heap),
        Section.STABLE_MEMORY: bytearray(),
    }


def _metadata(snapshot: MemorySnapshot) -> SnapshotMetadata:
    if snapshot.upload is not None:
        found: SnapshotMetadata = snapshot.upload.metadata
        return found
    return SnapshotMetadata(
        source=SnapshotSource.TAKEN_FROM_CANISTER,
        taken_at_ns=snapshot.taken_at_ns,
        wasm_module_size=len(MODULE),
        globals=(),
        wasm_memory_size=len(_sections(snapshot)[Section.WASM_MEMORY]),
        stable_memory_size=0,
        wasm_chunk_store=(),
        canister_version=snapshot.version,
        certified_data=b"",
        global_timer=GlobalTimer(deadline_ns=None),
        hook_status=HookStatus.CONDITION_NOT_SATISFIED,
    )
