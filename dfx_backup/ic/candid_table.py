"""The head of a Candid message: numbers, and the table of the types that its sender used."""

from typing import NamedTuple

from dfx_backup.ic.candid_types import (
    FUNC_CODE,
    OPT_CODE,
    PRIMITIVES,
    RECORD_CODE,
    SERVICE_CODE,
    VARIANT_CODE,
    VEC_CODE,
    CandidError,
)

MAX_TYPES = 10_000
MAX_NUMBER_BYTES = 1024
FUTURE_CODE = -25
"""Stands for every type constructor that is newer than this program."""


class WireType(NamedTuple):
    """An entry of the table.

    Attributes:
        code: opcode of the constructor.
        inner: for `opt` and `vec`: the inner type, a place in the table or a primitive's opcode.
        fields: for `record` and `variant`: pairs of tag and type, tags rising.
    """

    code: int
    inner: int = 0
    fields: tuple[tuple[int, int], ...] = ()


class Cursor:
    """Reads bytes from front to back and never past the end.

    Attributes:
        data: the message.
        at: where reading goes on.
    """

    __slots__ = ("at", "data")

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> memoryview:
        """The next bytes, without a copy.

        Raises:
            CandidError: there are not so many.
        """
        end = self.at + size
        if size < 0 or end > len(self.data):
            raise CandidError("the Candid message ends too early")
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def byte(self) -> int:
        """The next byte."""
        return self.take(1)[0]

    def unsigned(self) -> int:
        """A LEB128 number."""
        number, _ = self._leb()
        return number

    def signed(self) -> int:
        """A signed LEB128 number."""
        number, bits = self._leb()
        return number - (1 << bits) if number >> (bits - 1) else number

    def _leb(self) -> tuple[int, int]:
        data, start = self.data, self.at
        end = min(len(data), start + MAX_NUMBER_BYTES)
        number = shift = 0
        for at in range(start, end):
            byte = data[at]
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                self.at = at + 1
                return number, shift
        raise CandidError("a number in the Candid message does not end")

    def count(self, limit: int) -> int:
        """A LEB128 number that counts things, of which each takes at least one byte.

        Raises:
            CandidError: more than the limit, or than bytes are left.
        """
        number = self.unsigned()
        if number > min(limit, len(self.data) - self.at):
            raise CandidError(f"the Candid message claims {number} entries")
        return number


def read_table(cursor: Cursor) -> list[WireType]:
    """Read and check the type table.

    Raises:
        CandidError: it is malformed, or refers to types that it does not hold.
    """
    size = cursor.count(MAX_TYPES)
    table = [_entry(cursor) for _ in range(size)]
    for entry in table:
        if entry.code in (OPT_CODE, VEC_CODE):
            check_reference(entry.inner, size)
        for _, inner in entry.fields:
            check_reference(inner, size)
    return table


def check_reference(code: int, size: int) -> None:
    """Refuse a type that is neither a primitive nor in a table of the given size.

    Raises:
        CandidError: it is such a type.
    """
    if not (0 <= code < size or code in PRIMITIVES):
        raise CandidError(f"the Candid message refers to an unknown type {code}")


def _entry(cursor: Cursor) -> WireType:
    code = cursor.signed()
    if code in (OPT_CODE, VEC_CODE):
        return WireType(code, inner=cursor.signed())
    if code in (RECORD_CODE, VARIANT_CODE):
        return WireType(code, fields=_fields(cursor))
    if code == FUNC_CODE:
        for _ in range(2):
            for _ in range(cursor.count(MAX_TYPES)):
                cursor.signed()
        cursor.take(cursor.count(MAX_TYPES))
        return WireType(code)
    if code == SERVICE_CODE:
        for _ in range(cursor.count(MAX_TYPES)):
            cursor.take(cursor.unsigned())
            cursor.signed()
        return WireType(code)
    if code < FUTURE_CODE + 1:
        cursor.take(cursor.unsigned())
        return WireType(FUTURE_CODE)
    raise CandidError(f"the Candid type table holds an unknown constructor {code}")


def _fields(cursor: Cursor) -> tuple[tuple[int, int], ...]:
    fields = []
    last = -1
    for _ in range(cursor.count(MAX_TYPES)):
        tag = cursor.unsigned()
        if not last < tag < 2**32:
            raise CandidError("the fields of a Candid type are not in order")
        last = tag
        fields.append((tag, cursor.signed()))
    return tuple(fields)
