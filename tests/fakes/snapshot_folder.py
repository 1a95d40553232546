"""Folders of snapshots on the disk, as dfx and this program write them.

folder = write_folder(tmp_path / "copy", stable={3: b"page"}, taken_at=1_700_000_000)
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dfx_backup.ic.snapshot_metadata import (
    GlobalTimer,
    HookStatus,
    SnapshotMetadata,
    SnapshotSource,
    WasmGlobal,
)
from dfx_backup.model import CanisterId, NetworkId, SnapshotId
from dfx_backup.transfer import backup_json, metadata_json
from dfx_backup.transfer.backup_json import BackupRecord
from dfx_backup.transfer.terms import BackupIdentity, FileRecord, PageHash

PAGE = 65536
CANISTER = CanisterId("rrkah-fqaaa-aaaaa-aaaaq-cai")
NETWORK = NetworkId("6c" * 32)
MODULE = b"\0asm\x01\0\0\0 and more"
TAKEN = 1_700_000_000
"""Seconds since the epoch."""


def write_folder(  # noqa: PLR0913 - one parameter for each thing that may differ
    folder: Path,
    *,
    heap: bytes = b"",
    stable: Mapping[int, bytes] | None = None,
    chunks: tuple[bytes, ...] = (),
    globals_: tuple[WasmGlobal | None, ...] = (),
    taken_at: int = TAKEN,
    ours: bool = True,
    page_bytes: int | None = None,
    canister: str = CANISTER,
    network: str = NETWORK,
    **more: Any,
) -> Path:
    """Write one; `stable` maps numbers of pages to what they begin with; `ours`: backup.json.

    `page_bytes`: the memories have a hash of pages of so many bytes, and none of the whole.
    """
    pages = 1 + max(stable) if stable else 0
    content = {"wasm_module.bin": MODULE, "wasm_memory.bin": heap}
    if pages:
        memory = bytearray(pages * PAGE)
        for number, data in (stable or {}).items():
            memory[number * PAGE : number * PAGE + len(data)] = data
        content["stable_memory.bin"] = bytes(memory)
    hashes = tuple(hashlib.sha256(each).digest() for each in chunks)
    for hash_, each in zip(hashes, chunks, strict=True):
        content[f"wasm_chunk_store/{hash_.hex()}.bin"] = each
    metadata = SnapshotMetadata(
        source=SnapshotSource.TAKEN_FROM_CANISTER,
        taken_at_ns=taken_at * 10**9,
        wasm_module_size=len(MODULE),
        globals=globals_,
        wasm_memory_size=len(heap),
        stable_memory_size=pages * PAGE,
        wasm_chunk_store=hashes,
        canister_version=7,
        certified_data=b"",
        global_timer=GlobalTimer(deadline_ns=None),
        hook_status=HookStatus.CONDITION_NOT_SATISFIED,
    )
    content["metadata.json"] = metadata_json.to_json(metadata)
    files = tuple(
        paged(name, data, page_bytes)
        if page_bytes and "memory" in name
        else FileRecord(name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in content.items()
    )
    if ours:
        what = BackupIdentity(
            canister_id=CanisterId(canister),
            snapshot_id=SnapshotId("00" * 17 + "01"),
            network_id=NetworkId(network),
            tool="dfx-backup 0",
            created_at=float(taken_at),
        )
        record = BackupRecord(identity=what, files=files, globals=globals_, **more)
        content["backup.json"] = backup_json.to_json(record)
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def paged(name: str, data: bytes, size: int) -> FileRecord:
    """The record of a file by its pages."""
    pages = (data[at : at + size] for at in range(0, len(data), size))
    ids = b"".join(hashlib.sha256(page).digest() for page in pages)
    found = PageHash(page_bytes=size, sha256=hashlib.sha256(ids).hexdigest())
    return FileRecord(name=name, size=len(data), sha256=None, pages=found)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
