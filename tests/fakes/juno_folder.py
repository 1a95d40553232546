"""A folder as Juno's command line writes it (its jsonReplacer: bigints and bytes as objects)."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dfx_backup.ic.snapshot_metadata import SnapshotMetadata


def big(number: int) -> dict[str, str]:
    return {"__bigint__": str(number)}


def raw(data: bytes) -> dict[str, list[int]]:
    return {"__uint8array__": list(data)}


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def juno_folder(
    folder: Path,
    metadata: SnapshotMetadata,
    sections: Sequence[bytes],
    chunks: Sequence[bytes] = (),
) -> Path:
    """Module, heap and stable memory; empty ones have no file. Chunks in the metadata's order."""
    folder.mkdir()
    by_hash = {hashlib.sha256(chunk).digest(): chunk for chunk in chunks}
    joined = b"".join(by_hash[hash_] for hash_ in metadata.wasm_chunk_store)
    data = {}
    for key, name, content in zip(
        ("wasmModule", "wasmMemory", "stableMemory", "wasmChunkStore"),
        ("wasm-code.bin", "heap.bin", "stable.bin", "chunks-store.bin"),
        (*sections, joined),
        strict=True,
    ):
        if not content:
            data[key] = None
            continue
        (folder / name).write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        data[key] = {"filename": name, "size": big(len(content)), "hash": sha256}
    content = {"snapshotId": "0x00ff", "metadata": _metadata(metadata), "data": data}
    (folder / "metadata.json").write_text(json.dumps(content, indent=2))
    return folder


def _metadata(metadata: SnapshotMetadata) -> dict[str, Any]:
    assert metadata.source is not None
    told: dict[str, Any] = {
        "globals": [
            {each.kind.value: each.value if each.kind.value == "i32" else big(each.value)}
            for each in metadata.globals
            if each is not None
        ],
        "canisterVersion": big(metadata.canister_version),
        "source": {camel(metadata.source.value): None},
        "certifiedData": raw(metadata.certified_data),
        "wasmModuleSize": big(metadata.wasm_module_size),
        "stableMemorySize": big(metadata.stable_memory_size),
        "wasmChunkStore": [{"hash": raw(each)} for each in metadata.wasm_chunk_store],
        "takenAtTimestamp": big(metadata.taken_at_ns),
        "wasmMemorySize": big(metadata.wasm_memory_size),
    }
    if metadata.global_timer is not None:
        deadline = metadata.global_timer.deadline_ns
        told["globalTimer"] = {"inactive": None} if deadline is None else {"active": big(deadline)}
    if metadata.hook_status is not None:
        told["onLowWasmMemoryHookStatus"] = {camel(metadata.hook_status.value): None}
    return told
