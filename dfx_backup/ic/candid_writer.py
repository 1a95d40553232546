"""Values to Candid (Candid specification, "Serialisation")."""

import struct
from collections.abc import Callable, Sequence

from dfx_backup.ic.candid_types import (
    BLOB,
    BOOL_CODE,
    FIXED_SIZES,
    FLOAT32_CODE,
    INT8_CODE,
    INT64_CODE,
    INT_CODE,
    NAT8_CODE,
    NAT64_CODE,
    NAT_CODE,
    NULL_CODE,
    OPT_CODE,
    PRINCIPAL_CODE,
    RECORD_CODE,
    RESERVED_CODE,
    TEXT_CODE,
    VARIANT_CODE,
    VEC_CODE,
    CandidError,
    Field,
    Opt,
    Primitive,
    Record,
    Type,
    Value,
    Variant,
    Vec,
)
from dfx_backup.ic.principal import Principal

MAGIC = b"DIDL"


def encode(types: Sequence[Type], values: Sequence[Value]) -> bytes:
    """Encode an argument list. A blob is copied once, when the parts are joined.

    Args:
        types: the type of each argument.
        values: the arguments, shaped as `candid_types` says.

    Raises:
        CandidError: a value does not fit its type.
    """
    if len(types) != len(values):
        raise CandidError(f"{len(values)} arguments given for {len(types)} Candid types")
    table = _Table()
    references = [table.reference(type_) for type_ in types]
    parts = [MAGIC, table.bytes(), unsigned_leb(len(types)), *references]
    for type_, value in zip(types, values, strict=True):
        _write(parts, type_, value)
    return b"".join(parts)


def unsigned_leb(number: int) -> bytes:
    """LEB128 of a natural number of any size."""
    if number < 0:
        raise CandidError(f"{number} is negative where Candid wants a nat")
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def signed_leb(number: int) -> bytes:
    """Signed LEB128 of an integer of any size."""
    out = bytearray()
    while not -0x40 <= number < 0x40:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number & 0x7F)
    return bytes(out)


class _Table:
    """The type table: every composite type once, named by its place."""

    def __init__(self) -> None:
        self._places: dict[Type, int] = {}
        self._entries: list[bytes] = []

    def reference(self, type_: Type) -> bytes:
        if isinstance(type_, Primitive):
            return signed_leb(type_.code)
        place = self._places.get(type_)
        if place is None:
            place = len(self._entries)
            self._places[type_] = place
            self._entries.append(b"")
            self._entries[place] = self._entry(type_)
        return signed_leb(place)

    def _entry(self, type_: Type) -> bytes:
        if isinstance(type_, Opt):
            return signed_leb(OPT_CODE) + self.reference(type_.inner)
        if isinstance(type_, Vec):
            return signed_leb(VEC_CODE) + self.reference(type_.inner)
        if isinstance(type_, Record):
            return signed_leb(RECORD_CODE) + self._fields(type_.fields)
        if isinstance(type_, Variant):
            return signed_leb(VARIANT_CODE) + self._fields(type_.fields)
        raise CandidError(f"{type(type_).__name__} types are read only")

    def _fields(self, fields: tuple[Field, ...]) -> bytes:
        parts = [unsigned_leb(len(fields))]
        for field in fields:
            parts += [unsigned_leb(field.tag), self.reference(field.type)]
        return b"".join(parts)

    def bytes(self) -> bytes:
        return unsigned_leb(len(self._entries)) + b"".join(self._entries)


def _write(parts: list[bytes], type_: Type, value: Value) -> None:
    if isinstance(type_, Primitive):
        parts.append(_primitive(type_, value))
    elif isinstance(type_, Opt):
        if value is None:
            parts.append(b"\x00")
        else:
            parts.append(b"\x01")
            _write(parts, type_.inner, value)
    elif type_ == BLOB:
        if not isinstance(value, bytes | bytearray | memoryview):
            raise CandidError(f"a blob can't be made of {type(value).__name__}")
        parts += [unsigned_leb(len(value)), value]  # type: ignore[list-item] # join takes any buffer
    elif isinstance(type_, Vec):
        parts.append(unsigned_leb(len(value)))
        for item in value:
            _write(parts, type_.inner, item)
    elif isinstance(type_, Record):
        _write_record(parts, type_, value)
    elif isinstance(type_, Variant):
        _write_variant(parts, type_, value)
    else:
        raise CandidError(f"{type(type_).__name__} types are read only")


def _write_record(parts: list[bytes], type_: Record, value: Value) -> None:
    for field in type_.fields:
        if field.name not in value and not isinstance(field.type, Opt):
            raise CandidError(f"the Candid record lacks its field {field.name!r}")
        _write(parts, field.type, value.get(field.name))
    unknown = set(value) - {field.name for field in type_.fields}
    if unknown:
        raise CandidError(f"the Candid record has no fields {sorted(unknown)}")


def _write_variant(parts: list[bytes], type_: Variant, value: Value) -> None:
    name, inner = value
    for place, field in enumerate(type_.fields):
        if field.name == name:
            parts.append(unsigned_leb(place))
            _write(parts, field.type, inner)
            return
    raise CandidError(f"the Candid variant has no alternative {name!r}")


def _primitive(type_: Primitive, value: Value) -> bytes:
    code = type_.code
    try:
        if code in _WRITERS:
            return _WRITERS[code](value)
        if NAT64_CODE <= code <= NAT8_CODE:
            return int(value).to_bytes(FIXED_SIZES[code], "little")
        if INT64_CODE <= code <= INT8_CODE:
            return int(value).to_bytes(FIXED_SIZES[code], "little", signed=True)
        if type_.raw:
            return int(value).to_bytes(FIXED_SIZES[code], "little")
        if code in FIXED_SIZES:
            return struct.pack("<f" if code == FLOAT32_CODE else "<d", value)
    except (OverflowError, struct.error, ValueError, TypeError, AttributeError):
        raise CandidError(f"{value!r} does not fit Candid's {type_.name}") from None
    raise CandidError(f"no value has Candid's type {type_.name}")


def _bool(value: bool) -> bytes:  # noqa: FBT001 # the value itself, not a switch
    return b"\x01" if value else b"\x00"


def _text(value: str) -> bytes:
    raw = value.encode()
    return unsigned_leb(len(raw)) + raw


def _principal(value: Principal) -> bytes:
    return b"\x01" + unsigned_leb(len(value.raw)) + value.raw


def _nothing(_value: Value) -> bytes:
    return b""


_WRITERS: dict[int, Callable[[Value], bytes]] = {
    NULL_CODE: _nothing,
    RESERVED_CODE: _nothing,
    BOOL_CODE: _bool,
    NAT_CODE: unsigned_leb,
    INT_CODE: signed_leb,
    TEXT_CODE: _text,
    PRINCIPAL_CODE: _principal,
}
