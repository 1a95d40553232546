"""Writes Candid messages from typed Python values (Candid specification, "Binary format").

The Python form of a value, for the decoder as well: bool, int, float, str as they are; principals
and `vec nat8` are bytes; other vectors are lists; records are dicts keyed by field name (or
number); a variant is a pair (case, value); `opt` is None or the value (`Some` when None could be
the value); null and reserved are None; a function reference is a pair (principal bytes, method
name).
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Final

from dfx_backup.replica.candid_types import (
    CODES,
    FORMATS,
    FUNC,
    MODES,
    OPT,
    PRIMS,
    RECORD,
    SERVICE,
    VARIANT,
    VEC,
    CandidError,
    Env,
    Float32NaN,
    Func,
    Opt,
    Prim,
    Record,
    Ref,
    Service,
    Some,
    Type,
    Variant,
    Vec,
    nullable,
    resolve,
)
from dfx_backup.replica.leb128 import leb128

MAGIC: Final = b"DIDL"
_MODE_CODES: Final = {name: code for code, name in MODES.items()}
_NAT8: Final = PRIMS["nat8"]
_MAX_PRINCIPAL: Final = 29
_MAX_DEPTH: Final = 100


def sleb(value: int) -> bytes:
    """Write a signed number as SLEB128."""
    out = bytearray()
    while not -0x40 <= value < 0x40:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value & 0x7F)
    return bytes(out)


class Encoder:
    """Encodes sequences of values of fixed types; the type table is written once and kept."""

    def __init__(self, types: Sequence[Type], env: Env) -> None:
        self._types = tuple(types)
        self._env = env
        self._table: list[bytes] = []
        self._known: dict[Type, int] = {}
        codes = b"".join(self._code(of) for of in self._types)
        table = b"".join(self._table)
        self.header = MAGIC + leb128(len(self._table)) + table + leb128(len(self._types)) + codes

    def encode(self, values: Sequence[object]) -> bytes:
        """Encode one value per type.

        Raises:
            CandidError: a value does not have its type.
        """
        if len(values) != len(self._types):
            raise CandidError(f"{len(values)} values for {len(self._types)} types")
        parts: list[bytes] = [self.header]
        for of, value in zip(self._types, values, strict=True):
            self._put(parts, of, value, 0)
        return b"".join(parts)

    def _code(self, of: Type) -> bytes:
        found = resolve(of, self._env)
        if isinstance(found, Prim):
            return sleb(CODES[found.name])
        key = of if isinstance(of, Ref) else found
        if key not in self._known:
            # The place is taken before the entry is written: a recursive type refers to it.
            place = self._known[key] = len(self._table)
            self._table.append(b"")
            self._table[place] = self._entry(found)
        return sleb(self._known[key])

    def _entry(self, of: Type) -> bytes:
        match of:
            case Opt(inner=inner):
                return sleb(OPT) + self._code(inner)
            case Vec(inner=inner):
                return sleb(VEC) + self._code(inner)
            case Record(fields=members) | Variant(fields=members):
                code = RECORD if isinstance(of, Record) else VARIANT
                body = b"".join(leb128(field.hash) + self._code(field.type) for field in members)
                return sleb(code) + leb128(len(members)) + body
            case Func() as func:
                modes = bytes(sorted(_MODE_CODES[mode] for mode in func.modes))
                return sleb(FUNC) + b"".join(
                    (
                        self._codes(func.args),
                        self._codes(func.results),
                        leb128(len(modes)),
                        modes,
                    )
                )
            case Service(methods=methods):
                body = b"".join(
                    leb128(len(name.encode())) + name.encode() + self._code(method)
                    for name, method in methods
                )
                return sleb(SERVICE) + leb128(len(methods)) + body
        raise CandidError(f"not a type: {of!r}")

    def _codes(self, types: Sequence[Type]) -> bytes:
        return leb128(len(types)) + b"".join(self._code(of) for of in types)

    def _put(self, parts: list[bytes], of: Type, value: object, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise CandidError("the value is nested too deeply")
        found = resolve(of, self._env)
        match found:
            case Prim(name=name):
                parts.append(_primitive(name, value))
            case Opt(inner=inner):
                self._put_opt(parts, inner, value, depth)
            case Vec(inner=inner):
                self._put_vec(parts, inner, value, depth)
            case Record():
                self._put_record(parts, found, value, depth)
            case Variant():
                self._put_variant(parts, found, value, depth)
            case Func():
                parts.append(_function(value))
            case _:
                parts.append(_principal(value))

    def _put_opt(self, parts: list[bytes], inner: Type, value: object, depth: int) -> None:
        if value is None:
            parts.append(b"\0")
            return
        if nullable(inner, self._env):
            if not isinstance(value, Some):
                raise CandidError("a present opt whose content may be None is written as Some")
            value = value.value
        parts.append(b"\1")
        self._put(parts, inner, value, depth + 1)

    def _put_vec(self, parts: list[bytes], inner: Type, value: object, depth: int) -> None:
        found = resolve(inner, self._env)
        if found == _NAT8:
            if not isinstance(value, bytes | bytearray | memoryview):
                raise CandidError(f"a blob is bytes, not {type(value).__name__}")
            parts.append(leb128(len(value)))
            parts.append(value)  # type: ignore[arg-type]  # join takes any buffer: no copy here
            return
        if not isinstance(value, list | tuple):
            raise CandidError(f"a vec is a list, not {type(value).__name__}")
        parts.append(leb128(len(value)))
        if isinstance(found, Prim) and found.name in FORMATS:
            parts.append(_pack(f"<{len(value)}{FORMATS[found.name]}", *value))
            return
        for item in value:
            self._put(parts, found, item, depth + 1)

    def _put_record(self, parts: list[bytes], of: Record, value: object, depth: int) -> None:
        if not isinstance(value, Mapping):
            raise CandidError(f"a record is a dict, not {type(value).__name__}")
        known = 0
        for field in of.fields:
            if field.label in value:
                known += 1
            elif not nullable(field.type, self._env):
                raise CandidError(f"the field {field.label!r} is missing")
            self._put(parts, field.type, value.get(field.label), depth + 1)
        if known != len(value):
            extra = set(value) - {field.label for field in of.fields}
            raise CandidError(f"unknown fields: {sorted(map(str, extra))}")

    def _put_variant(self, parts: list[bytes], of: Variant, value: object, depth: int) -> None:
        if not (isinstance(value, tuple) and len(value) == 2):
            raise CandidError("a variant is a pair of case and value")
        for index, field in enumerate(of.fields):
            if field.label == value[0]:
                parts.append(leb128(index))
                self._put(parts, field.type, value[1], depth + 1)
                return
        raise CandidError(f"the variant has no case {value[0]!r}")


def _pack(form: str, *values: object) -> bytes:
    try:
        return struct.pack(form, *values)
    except (struct.error, OverflowError) as bad:
        raise CandidError(f"not a number of this type: {bad}") from bad


def _function(value: object) -> bytes:
    if not (isinstance(value, tuple) and len(value) == 2):
        raise CandidError("a function reference is a pair of principal and method name")
    return b"\x01" + _principal(value[0]) + _text(value[1])


def _number(name: str, value: object) -> bytes:
    if isinstance(value, bool) or not isinstance(value, int):
        raise CandidError(f"a {name} is an int, not {type(value).__name__}")
    if name == "int":
        return sleb(value)
    if value < 0:
        raise CandidError(f"a nat can't be {value}")
    return leb128(value)


def _principal(value: object) -> bytes:
    if not isinstance(value, bytes) or len(value) > _MAX_PRINCIPAL:
        raise CandidError("a principal is at most 29 bytes")
    return b"\x01" + leb128(len(value)) + value


def _text(value: object) -> bytes:
    if not isinstance(value, str):
        raise CandidError(f"a text is a str, not {type(value).__name__}")
    try:
        raw = value.encode()
    except UnicodeEncodeError as bad:
        raise CandidError("a text holds a lone surrogate") from bad
    return leb128(len(raw)) + raw


def _fixed(name: str, value: object) -> bytes:
    if name == "float32" and isinstance(value, Float32NaN):
        return value.bits.to_bytes(4, "little")
    return _pack("<" + FORMATS[name], value)


def _primitive(name: str, value: object) -> bytes:
    match name:
        case "null" | "reserved":
            return b""
        case "bool":
            if not isinstance(value, bool):
                raise CandidError(f"a bool is a bool, not {type(value).__name__}")
            return b"\1" if value else b"\0"
        case "nat" | "int":
            return _number(name, value)
        case "text":
            return _text(value)
        case "principal":
            return _principal(value)
        case "empty":
            raise CandidError("there is no value of type empty")
    return _fixed(name, value)
