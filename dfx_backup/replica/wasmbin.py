"""Reads the binary format of a canister module, checks it, and opens it up for the replica.

A replica must read and set globals that the module does not export, and must run the start
function at installation only. So the export section is written anew: every mutable or exported
numeric global, the memory, the table and the start function get names that begin with NUL, which
no canister can use by accident; start and custom sections go. Source: WebAssembly core
specification, "Binary format", and interface specification, "Canister module format".
"""

import hashlib
import zlib
from dataclasses import dataclass

from dfx_backup.replica.leb128 import leb128
from dfx_backup.replica.reject import Reject
from dfx_backup.replica.state import Module
from dfx_backup.replica.wasmcode import changes_instance
from dfx_backup.replica.wasmreader import Sections, read_sections

MAX_MODULE = 100 << 20
MAX_CODE = 10 << 20
MAX_FUNCTIONS = 50_000
MAX_GLOBALS = 1000
MAX_CUSTOM_SECTIONS = 16
MAX_CUSTOM_SIZE = 1 << 20

MEMORY_EXPORT = "\0memory"
TABLE_EXPORT = "\0table"
START_EXPORT = "\0start"

HOOKS = frozenset(
    {
        "canister_init",
        "canister_inspect_message",
        "canister_pre_upgrade",
        "canister_post_upgrade",
        "canister_heartbeat",
        "canister_global_timer",
        "canister_on_low_wasm_memory",
    }
)
METHOD_KINDS = ("canister_update ", "canister_query ", "canister_composite_query ")
_EOP_SECTION = "enhanced-orthogonal-persistence"
_NUMERIC = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64", 0x7B: "v128"}
_EXPORT, _START, _CODE, _TAG = 7, 8, 10, 13


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalInfo:
    """A global that the replica keeps: the name it is exported under, its type, mutability."""

    export: str
    type: str
    mutable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleInfo:
    """What the replica knows of a module.

    Attributes:
        binary: the rewritten module, to be compiled.
        is_wasm64: pointers are i64.
        memory_pages: initial size; None without a memory.
        has_table, has_start: whether the hidden exports exist.
        changes_instance: whether messages may change more of an instance than memory and globals.
        globals: exported ones in export order, then the other mutable ones by index.
        hooks: exported `canister_*` hooks.
        methods: method name -> "update", "query" or "composite_query".
        module: what is kept of the original.
    """

    binary: bytes
    is_wasm64: bool
    memory_pages: int | None
    has_table: bool
    has_start: bool
    changes_instance: bool
    globals: tuple[GlobalInfo, ...]
    hooks: frozenset[str]
    methods: dict[str, str]
    module: Module

    @property
    def is_enhanced_persistence(self) -> bool:
        """Whether the module keeps its heap over upgrades (Motoko's EOP marker section)."""
        return _EOP_SECTION in self.module.metadata


def invalid(reason: str) -> Reject:
    """The refusal of a module that breaks the rules."""
    return Reject.from_error_code(505, f"Canister's Wasm module is not valid: {reason}")


def read_module(raw: bytes) -> ModuleInfo:
    """Parse, check and rewrite a module as it was given to install_code.

    Raises:
        Reject: IC0505, with the broken rule.
    """
    binary = _unpack(raw)
    try:
        sections = read_sections(binary)
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise invalid(f"malformed: {error}") from error
    _check_imports(sections)
    _check_limits(sections)
    hooks, methods = _entry_points(sections)
    names, globals_ = _globals(sections)
    metadata, size = _metadata(sections)
    return ModuleInfo(
        binary=_rewrite(binary, sections, names),
        is_wasm64=bool(sections.memories and sections.memories[0].is_64),
        memory_pages=sections.memories[0].minimum if sections.memories else None,
        has_table=sections.table_count > 0,
        has_start=sections.start is not None,
        changes_instance=any(
            changes_instance(binary[start:end], tables=sections.table_count)
            for id_, start, end in sections.bodies
            if id_ == _CODE
        ),
        globals=globals_,
        hooks=hooks,
        methods=methods,
        module=Module(
            raw=raw,
            sha256=hashlib.sha256(raw).digest(),
            metadata=metadata,
            custom_sections_size=size,
        ),
    )


def _unpack(raw: bytes) -> bytes:
    if raw[:3] != b"\x1f\x8b\x08":
        if len(raw) > MAX_MODULE:
            raise invalid(f"{len(raw)} bytes are more than {MAX_MODULE}")
        return raw
    try:
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
        binary = unpacker.decompress(raw, MAX_MODULE + 1)
    except zlib.error as error:
        raise invalid(f"gzip: {error}") from error
    if len(binary) > MAX_MODULE:
        raise invalid(f"unpacked it is larger than {MAX_MODULE} bytes")
    if not unpacker.eof:
        raise invalid("gzip: the stream is cut off")
    return binary


def _check_imports(sections: Sections) -> None:
    for module, name, kind in sections.imports:
        if module != "ic0" or kind != 0:
            raise invalid(f"it imports {module}.{name}; only functions of ic0 can be imported")


def _check_limits(sections: Sections) -> None:
    if len(sections.memories) > 1:
        raise invalid("more than one memory")
    functions = len(sections.function_types) - len(sections.imports)
    if functions > MAX_FUNCTIONS:
        raise invalid(f"{functions} functions are more than {MAX_FUNCTIONS}")
    if len(sections.globals) > MAX_GLOBALS:
        raise invalid(f"{len(sections.globals)} globals are more than {MAX_GLOBALS}")
    code = sum(end - start for id_, start, end in sections.bodies if id_ == _CODE)
    if code > MAX_CODE:
        raise invalid(f"a code section of {code} bytes is larger than {MAX_CODE}")


def _entry_points(sections: Sections) -> tuple[frozenset[str], dict[str, str]]:
    hooks: set[str] = set()
    methods: dict[str, str] = {}
    for name, kind, index in sections.exports:
        if not name.startswith("canister_"):
            continue
        prefix = next((each for each in METHOD_KINDS if name.startswith(each)), None)
        if prefix is None and name not in HOOKS:
            raise invalid(f"it exports {name!r}, a reserved name")
        if kind != 0 or sections.signature(index) != (b"", b""):
            raise invalid(f"{name!r} has to be a function () -> ()")
        if prefix is None:
            hooks.add(name)
            continue
        method = name[len(prefix) :]
        if method in methods:
            raise invalid(f"the method {method!r} is exported more than once")
        methods[method] = prefix[len("canister_") : -1]
    return frozenset(hooks), methods


def _globals(sections: Sections) -> tuple[list[tuple[str, int]], tuple[GlobalInfo, ...]]:
    order: list[int] = []
    for _, kind, index in sections.exports:
        if kind == 3 and index not in order:
            order.append(index)
    order += [
        index
        for index, (_, mutable) in enumerate(sections.globals)
        if mutable and index not in order
    ]
    names: list[tuple[str, int]] = []
    infos: list[GlobalInfo] = []
    for index in order:
        type_code, mutable = sections.globals[index]
        if type_code in _NUMERIC:
            name = f"\0global{index}"
            names.append((name, index))
            infos.append(GlobalInfo(export=name, type=_NUMERIC[type_code], mutable=mutable))
    return names, tuple(infos)


def _metadata(sections: Sections) -> tuple[dict[str, tuple[bool, bytes]], int]:
    metadata: dict[str, tuple[bool, bytes]] = {}
    size = 0
    for name, content in sections.customs:
        for prefix, is_public in (("icp:public ", True), ("icp:private ", False)):
            if name.startswith(prefix):
                key = name[len(prefix) :]
                if key in metadata:
                    raise invalid(f"two custom sections are called {key!r}")
                metadata[key] = (is_public, content)
                size += len(key) + len(content)
    if len(metadata) > MAX_CUSTOM_SECTIONS or size > MAX_CUSTOM_SIZE:
        raise invalid(f"{len(metadata)} custom sections with {size} bytes are too many")
    return metadata, size


def _rewrite(binary: bytes, sections: Sections, globals_: list[tuple[str, int]]) -> bytes:
    hidden = [(name, 3, index) for name, index in globals_]
    if sections.memories:
        hidden.append((MEMORY_EXPORT, 2, 0))
    if sections.table_count:
        hidden.append((TABLE_EXPORT, 1, 0))
    if sections.start is not None:
        hidden.append((START_EXPORT, 0, sections.start))
    if any(name.startswith("\0") for name, _, _ in sections.exports):
        raise invalid("an export's name begins with NUL")
    exports = [*sections.exports, *hidden]
    body = leb128(len(exports)) + b"".join(
        leb128(len(encoded)) + encoded + bytes([kind]) + leb128(index)
        for encoded, kind, index in ((name.encode(), kind, index) for name, kind, index in exports)
    )
    export_section = bytes([_EXPORT]) + leb128(len(body)) + body
    parts = [binary[:8]]
    is_written = False
    for id_, start, end in sections.bodies:
        # exports stand before start (8), elements, code and data; the tag section (13) before them
        if not is_written and id_ >= _EXPORT and id_ != _TAG:
            parts.append(export_section)
            is_written = True
        if id_ in (_EXPORT, _START):
            continue
        parts.append(bytes([id_]) + leb128(end - start) + binary[start:end])
    if not is_written:
        parts.append(export_section)
    return b"".join(parts)
