"""Candid to values of the types that the caller expects (Candid specification, "Coercion").

Unknown fields are skipped, missing `opt` fields are None, a `nat` is read where an `int` is wanted,
a value is read where an `opt` of it is wanted, and whatever can't be read inside an `opt` is None.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dfx_backup.ic.candid_table import (
    Cursor,
    WireType,
    check_reference,
    read_table,
)
from dfx_backup.ic.candid_types import (
    BOOL_CODE,
    EMPTY_CODE,
    FIXED_SIZES,
    FLOAT32_CODE,
    FLOAT64_CODE,
    FUNC_CODE,
    INT8_CODE,
    INT64_CODE,
    INT_CODE,
    NAT8_CODE,
    NAT_CODE,
    NULL_CODE,
    OPT_CODE,
    PRIMITIVES,
    PRINCIPAL_CODE,
    RECORD_CODE,
    RESERVED,
    RESERVED_CODE,
    SERVICE_CODE,
    TEXT_CODE,
    VARIANT_CODE,
    VEC_CODE,
    CandidError,
    Field,
    Lazy,
    Opt,
    Primitive,
    Record,
    Type,
    TypeMismatchError,
    Value,
    Variant,
    Vec,
)
from dfx_backup.ic.candid_writer import MAGIC
from dfx_backup.ic.principal import MAX_BYTES, Principal

MAX_DEPTH = 96
MAX_VALUES = 2_000_000
MAX_ARGUMENTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How decoded values look where users of other libraries expect something else than we do.

    Attributes:
        boxed_opt: `opt` gives a list of no or one value.
        dict_variant: `variant` gives a dict of one entry.
        principal: makes a principal of its bytes.
    """

    boxed_opt: bool = False
    dict_variant: bool = False
    principal: Callable[[bytes], object] = Principal


PLAIN = Shape()


def decode(
    data: bytes | memoryview, types: Sequence[Type] | None, *, shape: Shape = PLAIN
) -> list[Value]:
    """Decode an argument list.

    Args:
        data: the message; a blob in it is copied once.
        types: what the caller expects; None takes the sender's types, with fields named `_TAG`.
        shape: how the values look.

    Returns:
        One value for each expected type.

    Raises:
        CandidError: the bytes are no Candid, or too much of it.
        TypeMismatchError: they hold something else than what is expected.
    """
    cursor = Cursor(memoryview(data))
    if bytes(cursor.take(4)) != MAGIC:
        raise CandidError("the message is no Candid")
    table = read_table(cursor)
    sent = [cursor.signed() for _ in range(cursor.count(MAX_ARGUMENTS))]
    for code in sent:
        check_reference(code, len(table))
    wanted = types if types is not None else [_own_type(table, code) for code in sent]
    reader = _Reader(cursor, table, shape)
    values = [reader.value(code, want, 0) for code, want in zip(sent, wanted, strict=False)]
    for code in sent[len(wanted) :]:
        reader.skip(code, 0)
    values += [reader.missing(want) for want in wanted[len(sent) :]]
    if cursor.at != len(cursor.data):
        raise CandidError("bytes are left over after the Candid message")
    return values


def _own_type(table: list[WireType], code: int) -> Type:
    """The type that the sender used; recursion is resolved while decoding."""
    if code < 0:
        return PRIMITIVES[code]
    entry = table[code]

    def lazily(inner: int) -> Type:
        return PRIMITIVES[inner] if inner < 0 else Lazy(lambda: _own_type(table, inner))

    if entry.code == OPT_CODE:
        return Opt(lazily(entry.inner))
    if entry.code == VEC_CODE:
        return Vec(lazily(entry.inner))
    fields = tuple(Field(tag, f"_{tag}", lazily(inner)) for tag, inner in entry.fields)
    if entry.code == RECORD_CODE:
        return Record(fields)
    if entry.code == VARIANT_CODE:
        return Variant(fields)
    return RESERVED


class _Reader:
    """Reads values; each reading is counted, so that no message keeps us busy for ever."""

    __slots__ = ("_cursor", "_shape", "_table", "_values")

    def __init__(self, cursor: Cursor, table: list[WireType], shape: Shape) -> None:
        self._cursor = cursor
        self._table = table
        self._shape = shape
        self._values = 0

    def value(self, code: int, want: Type, depth: int) -> Value:
        self._enter(depth)
        while isinstance(want, Lazy):
            want = want.resolve()
        if want is RESERVED:
            self.skip(code, depth)
            return None
        if isinstance(want, Opt):
            return self._opt(code, want, depth)
        if isinstance(want, Primitive):
            return self._primitive(code, want)
        if code < 0:
            raise _mismatch(want, PRIMITIVES[code].name)
        entry = self._table[code]
        if isinstance(want, Vec) and entry.code == VEC_CODE:
            return self._vec(entry.inner, want, depth)
        if isinstance(want, Record) and entry.code == RECORD_CODE:
            return self._record(entry, want, depth)
        if isinstance(want, Variant) and entry.code == VARIANT_CODE:
            return self._variant(entry, want, depth)
        raise _mismatch(want, "another type")

    def missing(self, want: Type) -> Value:
        """The value of a field or argument that the sender left out."""
        while isinstance(want, Lazy):
            want = want.resolve()
        if isinstance(want, Opt):
            return [] if self._shape.boxed_opt else None
        if isinstance(want, Primitive) and want.code in (NULL_CODE, RESERVED_CODE):
            return None
        raise TypeMismatchError("the Candid message lacks a value that is needed")

    def _enter(self, depth: int) -> None:
        self._values += 1
        if depth > MAX_DEPTH or self._values > MAX_VALUES:
            raise CandidError("the Candid message is nested too deep or holds too many values")

    def _opt(self, code: int, want: Opt, depth: int) -> Value:
        boxed = self._shape.boxed_opt
        nothing: Value = [] if boxed else None
        if code in (NULL_CODE, RESERVED_CODE):
            return nothing
        if code >= 0 and self._table[code].code == OPT_CODE:
            flag = self._cursor.byte()
            if flag > 1:
                raise CandidError("an opt in the Candid message is neither there nor not")
            if flag == 0:
                return nothing
            code = self._table[code].inner
        start = self._cursor.at
        try:
            found = self.value(code, want.inner, depth + 1)
        except TypeMismatchError:
            self._cursor.at = start
            self.skip(code, depth + 1)
            return nothing
        return [found] if boxed else found

    def _vec(self, inner: int, want: Vec, depth: int) -> Value:
        cursor = self._cursor
        size = cursor.unsigned()
        item = want.inner
        while isinstance(item, Lazy):
            item = item.resolve()
        if inner == NAT8_CODE and isinstance(item, Primitive) and item.code == NAT8_CODE:
            return bytes(cursor.take(size))
        if size > MAX_VALUES:
            raise CandidError(f"a vec in the Candid message claims {size} entries")
        return [self.value(inner, item, depth + 1) for _ in range(size)]

    def _record(self, entry: WireType, want: Record, depth: int) -> Value:
        wanted = {field.tag: field for field in want.fields}
        found: dict[str, Value] = {}
        for tag, inner in entry.fields:
            field = wanted.pop(tag, None)
            if field is None:
                self.skip(inner, depth + 1)
            else:
                found[field.name] = self.value(inner, field.type, depth + 1)
        for field in wanted.values():
            try:
                found[field.name] = self.missing(field.type)
            except TypeMismatchError:
                raise TypeMismatchError(f"the Candid record lacks {field.name!r}") from None
        return [found[field.name] for field in want.fields] if want.positional else found

    def _variant(self, entry: WireType, want: Variant, depth: int) -> Value:
        place = self._cursor.unsigned()
        if place >= len(entry.fields):
            raise CandidError("a variant in the Candid message has no such alternative")
        tag, inner = entry.fields[place]
        for field in want.fields:
            if field.tag == tag:
                value = self.value(inner, field.type, depth + 1)
                return {field.name: value} if self._shape.dict_variant else (field.name, value)
        raise TypeMismatchError("a variant in the Candid message has an unknown alternative")

    def _primitive(self, code: int, want: Primitive) -> Value:
        if code != want.code and not (code == NAT_CODE and want.code == INT_CODE):
            name = PRIMITIVES[code].name if code < 0 else "a composite type"
            raise _mismatch(want, name)
        cursor = self._cursor
        if code in FIXED_SIZES:
            return _fixed(want, cursor.take(FIXED_SIZES[code]))
        if code == NAT_CODE:
            return cursor.unsigned()
        if code == INT_CODE:
            return cursor.signed()
        if code == TEXT_CODE:
            try:
                return str(cursor.take(cursor.unsigned()), "utf-8")
            except UnicodeDecodeError:
                raise CandidError("a text in the Candid message is not UTF-8") from None
        if code == PRINCIPAL_CODE:
            return self._shape.principal(self._principal())
        raise CandidError("the Candid message holds a value of the empty type")

    def _principal(self) -> bytes:
        if self._cursor.byte() != 1:
            raise CandidError("a principal in the Candid message is opaque")
        size = self._cursor.unsigned()
        if size > MAX_BYTES:
            raise CandidError("a principal in the Candid message is too long")
        return bytes(self._cursor.take(size))

    def skip(self, code: int, depth: int) -> None:
        """Pass over a value of the sender's type."""
        self._enter(depth)
        cursor = self._cursor
        if code in FIXED_SIZES:
            cursor.take(FIXED_SIZES[code])
        elif code in (NAT_CODE, INT_CODE):
            cursor.unsigned()
        elif code == TEXT_CODE:
            cursor.take(cursor.unsigned())
        elif code == PRINCIPAL_CODE:
            self._skip_reference()
        elif code == EMPTY_CODE:
            raise CandidError("the Candid message holds a value of the empty type")
        else:
            self._skip_composite(self._table[code], depth)

    def _skip_reference(self) -> None:
        if self._cursor.byte() == 1:
            self._cursor.take(self._cursor.unsigned())

    def _skip_composite(self, entry: WireType, depth: int) -> None:
        cursor = self._cursor
        if entry.code == OPT_CODE:
            if cursor.byte():
                self.skip(entry.inner, depth + 1)
        elif entry.code == VEC_CODE:
            self._skip_vec(entry.inner, depth)
        elif entry.code == RECORD_CODE:
            for _, inner in entry.fields:
                self.skip(inner, depth + 1)
        elif entry.code == VARIANT_CODE:
            place = cursor.unsigned()
            if place >= len(entry.fields):
                raise CandidError("a variant in the Candid message has no such alternative")
            self.skip(entry.fields[place][1], depth + 1)
        else:
            self._skip_opaque(entry.code)

    def _skip_opaque(self, code: int) -> None:
        cursor = self._cursor
        if code == SERVICE_CODE:
            self._skip_reference()
        elif code == FUNC_CODE:
            if cursor.byte():
                self._skip_reference()
                cursor.take(cursor.unsigned())
        else:
            size = cursor.unsigned()
            cursor.unsigned()
            cursor.take(size)

    def _skip_vec(self, inner: int, depth: int) -> None:
        size = self._cursor.unsigned()
        if inner in FIXED_SIZES:
            self._cursor.take(size * FIXED_SIZES[inner])
            return
        if size > MAX_VALUES:
            raise CandidError(f"a vec in the Candid message claims {size} entries")
        for _ in range(size):
            self.skip(inner, depth + 1)


def _fixed(want: Primitive, raw: memoryview) -> Value:
    code = want.code
    if code in (NULL_CODE, RESERVED_CODE):
        return None
    if code == BOOL_CODE:
        if raw[0] > 1:
            raise CandidError("a bool in the Candid message is neither true nor false")
        return bool(raw[0])
    if code in (FLOAT32_CODE, FLOAT64_CODE) and not want.raw:
        return struct.unpack("<f" if code == FLOAT32_CODE else "<d", raw)[0]
    return int.from_bytes(raw, "little", signed=INT64_CODE <= code <= INT8_CODE)


def _mismatch(want: Type, found: str) -> TypeMismatchError:
    name = want.name if isinstance(want, Primitive) else type(want).__name__.lower()
    return TypeMismatchError(f"the Candid message holds {found} where {name} is expected")
