"""Folders that Juno's command line makes: other names, camel case, and all chunks in one file.

Its metadata.json holds the size and SHA-256 of each file, but not where one chunk of the Wasm chunk
store ends and the next begins: their hashes tell.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dfx_backup.errors import DamageError
from dfx_backup.files import Fields
from dfx_backup.ic.snapshot_metadata import SnapshotMetadata
from dfx_backup.transfer import metadata_json

CHUNK_BYTES = 1024 * 1024
"""Most bytes of a chunk of the Wasm chunk store."""

_HINT = "Was it written by Juno's command line?"
_CAPITALS = re.compile(r"(?<!^)([A-Z])")
_LIKELY_SIZES = (CHUNK_BYTES, 1_000_000)


def is_juno(content: object) -> bool:
    """Whether parsed metadata is Juno's."""
    return isinstance(content, dict) and {"snapshotId", "metadata", "data"} <= content.keys()


def read_metadata(content: Any, path: Path) -> SnapshotMetadata:  # noqa: ANN401 # JSON
    """The snapshot's metadata.

    Args:
        content: parsed metadata.json.
        path: the file, for messages.

    Raises:
        DamageError: it is not what Juno writes.
    """
    plain = _plain(content["metadata"])
    if not isinstance(plain, dict):
        raise Fields(path, content, hint=_HINT).damaged("'metadata' is no object")
    return metadata_json.from_content(plain, path)


def read_files(content: Any, path: Path) -> Mapping[str, tuple[str, int, str]]:  # noqa: ANN401 # JSON
    """Name, size and SHA-256 of each file.

    Returns:
        By section as Juno calls it: wasm_module, wasm_memory, stable_memory, wasm_chunk_store.

    Raises:
        DamageError: it is not what Juno writes.
    """
    plain: Any = _plain(content["data"])
    fields = Fields(path, plain, hint=_HINT)
    found = {}
    for section, told in plain.items():
        if told is None:
            continue
        file = fields.child(section)
        name = file.text("filename")
        if "/" in name or name in ("", ".", ".."):
            raise fields.damaged(f"{name!r} is no name of a file")
        found[section] = (name, file.whole("size"), file.text("hash"))
    return found


def _plain(value: object) -> object:
    """The notation of dfx's metadata.json."""
    if isinstance(value, dict):
        if value.keys() == {"__bigint__"}:
            return _whole(value["__bigint__"])
        if value.keys() == {"__uint8array__"}:
            return value["__uint8array__"]
        made = {_snake(key): _plain(item) for key, item in value.items()}
        return made if made != {"inactive": None} else "inactive"
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _whole(text: object) -> int | None:
    return int(text) if isinstance(text, str) and re.fullmatch(r"-?[0-9]{1,40}", text) else None


def _snake(name: str) -> str:
    return _CAPITALS.sub(lambda match: f"_{match[1].lower()}", name)


def split_chunks(data: bytes, hashes: Sequence[bytes], path: Path) -> list[tuple[int, int]]:
    """Where each chunk is in the file that holds them all.

    Args:
        data: the file.
        hashes: SHA-256 of each chunk, in the order of the file.
        path: the file, for messages.

    Returns:
        Begin and size of each.

    Raises:
        DamageError: the file is not made of these chunks.
    """
    found = []
    begin = 0
    for hash_ in hashes:
        size = _chunk_size(data[begin : begin + CHUNK_BYTES], hash_)
        if size is None:
            raise DamageError(f"{path} does not hold the chunk {hash_.hex()} at byte {begin}")
        found.append((begin, size))
        begin += size
    if begin != len(data):
        raise DamageError(f"{path} holds {len(data) - begin} bytes that belong to no chunk")
    return found


def _chunk_size(data: bytes, hash_: bytes) -> int | None:
    """How much of the data has this hash; the likely sizes first, then every one."""
    for size in (len(data), *_LIKELY_SIZES):
        if size <= len(data) and hashlib.sha256(data[:size]).digest() == hash_:
            return size
    running = hashlib.sha256()
    for size in range(1, len(data)):
        running.update(data[size - 1 : size])
        if running.digest() == hash_:
            return size
    return None
