"""metadata.json, byte for byte as dfx and icp write it, and read as either of them wrote it.

Both print the reply of `read_canister_snapshot_metadata` with serde_json's `to_string_pretty`:
two spaces, no newline at the end, bytes as lists of numbers, `nat` as a list of 32-bit limbs with
the lowest first. NaN and infinities become `null`, so their bits are lost there: backup.json keeps
them.
"""

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from dfx_backup.files import Fields
from dfx_backup.ic.snapshot_metadata import (
    GlobalKind,
    GlobalTimer,
    HookStatus,
    SnapshotMetadata,
    SnapshotSource,
    WasmGlobal,
)
from dfx_backup.transfer.float_text import F32, F64, float_text

METADATA_NAME = "metadata.json"
_LIMB = 1 << 32
_HINT = "Was it written by dfx 0.29.2 or later, by icp, or by this program?"
_RANGES = {GlobalKind.I32: 1 << 31, GlobalKind.I64: 1 << 63}
_E = TypeVar("_E")


class _Raw(str):
    """A number that is written as it stands."""

    __slots__ = ()


def to_json(metadata: SnapshotMetadata) -> bytes:
    """The file's content."""
    source, timer, hook = metadata.source, metadata.global_timer, metadata.hook_status
    active = None if timer is None else timer.deadline_ns
    content = {
        "source": None if source is None else {source.value: None},
        "taken_at_timestamp": metadata.taken_at_ns,
        "wasm_module_size": metadata.wasm_module_size,
        "globals": [_global(each) for each in metadata.globals],
        "wasm_memory_size": metadata.wasm_memory_size,
        "stable_memory_size": metadata.stable_memory_size,
        "wasm_chunk_store": [{"hash": list(each)} for each in metadata.wasm_chunk_store],
        "canister_version": metadata.canister_version,
        "certified_data": list(metadata.certified_data),
        "global_timer": None
        if timer is None
        else ("inactive" if active is None else {"active": active}),
        "on_low_wasm_memory_hook_status": None if hook is None else hook.value,
    }
    return _pretty(content, "").encode()


def _global(found: WasmGlobal | None) -> object:
    if found is None:
        return None
    value: object = found.value
    if found.kind in (GlobalKind.F32, GlobalKind.F64):
        text = float_text(found.value, F32 if found.kind is GlobalKind.F32 else F64)
        value = None if text is None else _Raw(text)
    elif found.kind is GlobalKind.V128:
        value = _limbs(found.value)
    return {found.kind.value: value}


def _limbs(number: int) -> list[int]:
    found = []
    while number:
        number, low = divmod(number, _LIMB)
        found.append(low)
    return found


def _pretty(value: object, indent: str) -> str:
    inner = indent + "  "
    if isinstance(value, _Raw):
        return value
    if isinstance(value, Mapping) and value:
        lines = [f"{json.dumps(key)}: {_pretty(item, inner)}" for key, item in value.items()]
        return _block("{", lines, "}", indent)
    if isinstance(value, Sequence) and value and not isinstance(value, str):
        return _block("[", [_pretty(item, inner) for item in value], "]", indent)
    return json.dumps(value)


def _block(opening: str, lines: list[str], closing: str, indent: str) -> str:
    body = ",\n".join(f"{indent}  {line}" for line in lines)
    return f"{opening}\n{body}\n{indent}{closing}"


def from_json(data: bytes, path: Path) -> SnapshotMetadata:
    """Read a file's content.

    Floats that were written as `null` are None in `globals`, as are globals of unknown types.

    Args:
        data: the content.
        path: the file, for messages.

    Raises:
        DamageError: it is not what dfx, icp or this program writes.
    """
    return from_content(parse(data), path)


def parse(data: bytes) -> Any:  # noqa: ANN401 # JSON
    """JSON, with floats kept as they are written; None when it is none."""
    try:
        return json.loads(data, parse_float=_Raw)
    except (ValueError, RecursionError):
        return None


def from_content(content: Any, path: Path) -> SnapshotMetadata:  # noqa: ANN401 # JSON
    """As `from_json`, of what `parse` returned."""
    fields = Fields(path, content, hint=_HINT)
    read = _Reader(fields, content)
    return SnapshotMetadata(
        source=read.variant("source", SnapshotSource),
        taken_at_ns=read.size("taken_at_timestamp"),
        wasm_module_size=read.size("wasm_module_size"),
        globals=tuple(read.global_(each) for each in read.values("globals")),
        wasm_memory_size=read.size("wasm_memory_size"),
        stable_memory_size=read.size("stable_memory_size"),
        wasm_chunk_store=tuple(
            read.hash_(each) for each in read.values("wasm_chunk_store", optional=True)
        ),
        canister_version=read.size("canister_version"),
        certified_data=read.bytes_("certified_data", content["certified_data"])
        if "certified_data" in content
        else b"",
        global_timer=read.timer(),
        hook_status=read.variant("on_low_wasm_memory_hook_status", HookStatus),
    )


class _Reader:
    """Takes the values of one metadata.json apart."""

    def __init__(self, fields: Fields, content: Mapping[str, Any]) -> None:
        self._fields = fields
        self._content = content

    def size(self, name: str) -> int:
        found = self._fields.whole(name)
        if not 0 <= found < 1 << 64:
            raise self._fields.damaged(f"`{name}` is out of range")
        return found

    def values(self, name: str, *, optional: bool = False) -> list[Any]:
        found = self._content.get(name, [] if optional else None)
        if not isinstance(found, list):
            raise self._fields.damaged(f"`{name}` is no list")
        return found

    def bytes_(self, name: str, found: object) -> bytes:
        complaint = self._fields.damaged(f"`{name}` is no list of bytes")
        if not isinstance(found, list):
            raise complaint
        try:
            return bytes(found)
        except (TypeError, ValueError):
            raise complaint from None

    def hash_(self, found: object) -> bytes:
        hash_ = self.bytes_("hash", found.get("hash") if isinstance(found, dict) else None)
        if len(hash_) != 32:
            raise self._fields.damaged("a hash in 'wasm_chunk_store' has not 32 bytes")
        return hash_

    def variant(self, name: str, kind: Callable[[str], _E]) -> _E | None:
        found = self._content.get(name)
        if isinstance(found, dict) and len(found) == 1:
            found = next(iter(found))
        if found is None:
            return None
        try:
            return kind(found)
        except ValueError:
            raise self._fields.damaged(f"`{name}` can't be {found!r}") from None

    def timer(self) -> GlobalTimer | None:
        found = self._content.get("global_timer")
        if found is None:
            return None
        if found in ("inactive", {"inactive": None}):
            return GlobalTimer(deadline_ns=None)
        deadline = found.get("active") if isinstance(found, dict) else None
        if not isinstance(deadline, int) or not 0 <= deadline < 1 << 64:
            raise self._fields.damaged("'global_timer' can't be understood")
        return GlobalTimer(deadline_ns=deadline)

    def global_(self, found: object) -> WasmGlobal | None:
        if found is None:
            return None
        if not isinstance(found, dict) or len(found) != 1:
            raise self._fields.damaged("a global can't be understood")
        name, value = next(iter(found.items()))
        try:
            kind = GlobalKind(name)
            number = None if value is None else global_value(kind, value)
        except (ValueError, TypeError, OverflowError):
            raise self._fields.damaged(f"the global {found!r} can't be understood") from None
        return None if number is None else WasmGlobal(kind=kind, value=number)


def global_value(kind: GlobalKind, value: object) -> int:
    """The value of a global as `WasmGlobal` holds it, out of parsed JSON.

    Raises:
        TypeError, ValueError: it is none of that kind.
        OverflowError: a float is too large.
    """
    if kind in (GlobalKind.F32, GlobalKind.F64):
        form, whole = ("<f", "<I") if kind is GlobalKind.F32 else ("<d", "<Q")
        if isinstance(value, bool) or not isinstance(value, _Raw | int | float):
            raise TypeError
        bits: int = struct.unpack(whole, struct.pack(form, float(value)))[0]
        return bits
    if kind is GlobalKind.V128:
        return _from_limbs(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError
    if not -_RANGES[kind] <= value < _RANGES[kind]:
        raise ValueError
    return value


def _from_limbs(value: object) -> int:
    """A `nat`: limbs, a number, or a decimal text."""
    number: int
    if isinstance(value, list):
        if not all(isinstance(limb, int) and 0 <= limb < _LIMB for limb in value):
            raise ValueError
        number = sum(limb << (32 * place) for place, limb in enumerate(value))
    elif isinstance(value, str) and not isinstance(value, _Raw):
        number = int(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        raise TypeError
    if not 0 <= number < 1 << 128:
        raise ValueError
    return number
