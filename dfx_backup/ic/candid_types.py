"""Candid types, as values of our own (Candid specification, "Types").

How decoded values look in Python: `record` is a dict by field name, `variant` a pair of name and
value, `opt` the value or None, `blob` is bytes, `principal` a `Principal`, `vec` a list.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from dfx_backup.errors import NetworkError

Value: TypeAlias = Any
"""A Candid value before the caller gives it a type: this is the parsing edge."""

NULL_CODE, BOOL_CODE, NAT_CODE, INT_CODE = -1, -2, -3, -4
NAT8_CODE, NAT16_CODE, NAT32_CODE, NAT64_CODE = -5, -6, -7, -8
INT8_CODE, INT16_CODE, INT32_CODE, INT64_CODE = -9, -10, -11, -12
FLOAT32_CODE, FLOAT64_CODE, TEXT_CODE, RESERVED_CODE, EMPTY_CODE = -13, -14, -15, -16, -17
OPT_CODE, VEC_CODE, RECORD_CODE, VARIANT_CODE = -18, -19, -20, -21
FUNC_CODE, SERVICE_CODE, PRINCIPAL_CODE = -22, -23, -24

FIXED_SIZES = {
    NULL_CODE: 0,
    RESERVED_CODE: 0,
    BOOL_CODE: 1,
    NAT8_CODE: 1,
    NAT16_CODE: 2,
    NAT32_CODE: 4,
    NAT64_CODE: 8,
    INT8_CODE: 1,
    INT16_CODE: 2,
    INT32_CODE: 4,
    INT64_CODE: 8,
    FLOAT32_CODE: 4,
    FLOAT64_CODE: 8,
}
"""Bytes that a value takes on the wire, for the types where this does not depend on the value."""


class CandidError(NetworkError):
    """Bytes that should be Candid of a given type are not, or a value does not fit its type."""


class TypeMismatchError(CandidError):
    """Well-formed Candid of another type; inside an `opt` this reads as None."""


class Type:
    """A Candid type."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Primitive(Type):
    """A type without parts.

    Attributes:
        code: its opcode on the wire.
        name: its name in Candid, for messages.
        raw: floats only: the value is the unsigned integer of its bits, so that every NaN survives.
    """

    code: int
    name: str
    raw: bool = False


@dataclass(frozen=True, slots=True)
class Opt(Type):
    """`opt inner`."""

    inner: Type


@dataclass(frozen=True, slots=True)
class Vec(Type):
    """`vec inner`."""

    inner: Type


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a record, or an alternative of a variant.

    Attributes:
        tag: the label's hash, by which fields are sorted and found.
        name: the label.
        type: what it holds.
    """

    tag: int
    name: str
    type: Type


@dataclass(frozen=True, slots=True)
class Record(Type):
    """`record`.

    Attributes:
        fields: sorted by tag.
        positional: the value is read as a list in this order instead of a dict.
    """

    fields: tuple[Field, ...]
    positional: bool = False


@dataclass(frozen=True, slots=True)
class Variant(Type):
    """`variant`; the alternatives are sorted by tag."""

    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Lazy(Type):
    """A type that is named before it is known: recursive types.

    Attributes:
        resolve: gives the type; called while decoding only.
    """

    resolve: Callable[[], Type]


NULL = Primitive(NULL_CODE, "null")
BOOL = Primitive(BOOL_CODE, "bool")
NAT = Primitive(NAT_CODE, "nat")
INT = Primitive(INT_CODE, "int")
NAT8 = Primitive(NAT8_CODE, "nat8")
NAT16 = Primitive(NAT16_CODE, "nat16")
NAT32 = Primitive(NAT32_CODE, "nat32")
NAT64 = Primitive(NAT64_CODE, "nat64")
INT8 = Primitive(INT8_CODE, "int8")
INT16 = Primitive(INT16_CODE, "int16")
INT32 = Primitive(INT32_CODE, "int32")
INT64 = Primitive(INT64_CODE, "int64")
FLOAT32 = Primitive(FLOAT32_CODE, "float32")
FLOAT64 = Primitive(FLOAT64_CODE, "float64")
FLOAT32_BITS = Primitive(FLOAT32_CODE, "float32", raw=True)
FLOAT64_BITS = Primitive(FLOAT64_CODE, "float64", raw=True)
TEXT = Primitive(TEXT_CODE, "text")
RESERVED = Primitive(RESERVED_CODE, "reserved")
EMPTY = Primitive(EMPTY_CODE, "empty")
PRINCIPAL = Primitive(PRINCIPAL_CODE, "principal")
BLOB = Vec(NAT8)

PRIMITIVES: dict[int, Primitive] = {
    t.code: t
    for t in (
        *(NULL, BOOL, NAT, INT, NAT8, NAT16, NAT32, NAT64, INT8, INT16, INT32, INT64),
        *(FLOAT32, FLOAT64, TEXT, RESERVED, EMPTY, PRINCIPAL),
    )
}


def label_tag(label: str) -> int:
    """The tag of a label: its hash."""
    tag = 0
    for byte in label.encode():
        tag = (tag * 223 + byte) & 0xFFFFFFFF
    return tag


def record(fields: Mapping[str, Type]) -> Record:
    """A record type from labels and types."""
    return Record(_sorted(fields))


def variant(fields: Mapping[str, Type]) -> Variant:
    """A variant type from labels and types."""
    return Variant(_sorted(fields))


def _sorted(fields: Mapping[str, Type]) -> tuple[Field, ...]:
    made = [Field(label_tag(name), name, type_) for name, type_ in fields.items()]
    made.sort(key=lambda field: field.tag)
    if len({field.tag for field in made}) != len(made):
        raise CandidError("two labels of one Candid type have the same hash")
    return tuple(made)
