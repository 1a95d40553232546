"""Reads Candid messages as values of expected types (Candid specification, "Deserialisation").

A message describes itself; the reader's types may differ within the rules of subtyping: fields
nobody expects are skipped, missing optional fields are None, and an `opt` that can't be read as
expected is None. Bytes from outside are hostile: every count, depth and amount of work is bounded,
and whatever is wrong is a `CandidError`. Python forms of values: see `candid_encode`.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

from dfx_backup.replica.candid_encode import MAGIC
from dfx_backup.replica.candid_types import (
    BY_CODE,
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
    Field,
    Float32NaN,
    Func,
    MismatchError,
    Opt,
    Prim,
    Record,
    Ref,
    Service,
    Some,
    Subtyping,
    Type,
    Variant,
    Vec,
    nullable,
    resolve,
)

_NAT8: Final = PRIMS["nat8"]
_NULL: Final = PRIMS["null"]
_RESERVED: Final = PRIMS["reserved"]
_NUMBERS: Final = {name: struct.Struct("<" + form) for name, form in FORMATS.items()}
_MAX_TABLE: Final = 10_000
_MAX_DEPTH: Final = 100
# A number of more bytes than this costs quadratic time and means nothing here.
_MAX_LEB: Final = 1_000
# Values that take no bytes (null, an empty record) may be this many beyond two per byte.
_FREE_STEPS: Final = 10_000
MAX_STEPS: Final = 2_000_000


class Decoder:
    """Reads one message; the Python values are built once, by `values`."""

    def __init__(self, data: bytes | memoryview, *, max_steps: int = MAX_STEPS) -> None:
        """Take a message.

        Args:
            data: the whole message.
            max_steps: how many values may be visited in all, skipped ones included.
        """
        self._data = bytes(data) if isinstance(data, memoryview) else data
        self._at = 0
        self._wire: dict[str, Type] = {}
        self._expected: Env = {}
        self._steps = min(max_steps, 2 * len(self._data) + _FREE_STEPS)

    def values(self, types: Sequence[Type], env: Env) -> list[Any]:
        """Read the whole message as values of the given types.

        Raises:
            MismatchError: the message is well-formed but has other types.
            CandidError: it is not a Candid message, or too large in some way.
        """
        self._expected = env
        wire = self._header()
        found: list[Any] = []
        for index, of in enumerate(types):
            if index < len(wire):
                found.append(self._value(wire[index], of, 0))
            elif nullable(of, env):
                found.append(None)
            else:
                raise MismatchError(f"the message has {len(wire)} values of {len(types)}")
        for extra in wire[len(types) :]:
            self._value(extra, _RESERVED, 0)
        if self._at != len(self._data):
            raise CandidError(f"{len(self._data) - self._at} bytes follow the message")
        return found

    # --- the header -------------------------------------------------------------------------

    def _header(self) -> list[Type]:
        if self._data[:4] != MAGIC:
            raise CandidError("the message does not begin with DIDL")
        self._at = 4
        size = self._leb()
        if size > _MAX_TABLE:
            raise CandidError(f"the type table has {size} entries")
        for index in range(size):
            self._wire[str(index)] = self._entry(size)
        for of in self._wire.values():
            if isinstance(of, Service):
                for name, method in of.methods:
                    if not isinstance(resolve(method, self._wire), Func):
                        raise CandidError(f"the method {name} is not a function")
        return [self._type(size) for _ in range(self._count(1))]

    def _entry(self, size: int) -> Type:
        code = self._sleb()
        if code in (OPT, VEC):
            inner = self._type(size)
            return Opt(inner) if code == OPT else Vec(inner)
        if code in (RECORD, VARIANT):
            members = self._fields(size)
            return Record(members) if code == RECORD else Variant(members)
        if code == FUNC:
            args = tuple(self._type(size) for _ in range(self._count(1)))
            results = tuple(self._type(size) for _ in range(self._count(1)))
            modes = [self._byte() for _ in range(self._count(1))]
            if any(mode not in MODES for mode in modes):
                raise CandidError("unknown function annotation")
            return Func(args, results, frozenset(MODES[mode] for mode in modes))
        if code == SERVICE:
            return self._service(size)
        raise CandidError(f"unknown type code {code}")

    def _service(self, size: int) -> Service:
        methods: list[tuple[str, Type]] = []
        for _ in range(self._count(2)):
            name = self._text()
            if methods and methods[-1][0].encode() >= name.encode():
                raise CandidError("service methods are not sorted")
            methods.append((name, self._type(size)))
        return Service(tuple(methods))

    def _fields(self, size: int) -> tuple[Field, ...]:
        found: list[Field] = []
        for _ in range(self._count(2)):
            number = self._leb()
            if number > 0xFFFFFFFF or (found and found[-1].hash >= number):
                raise CandidError("field numbers are not sorted, or too large")
            found.append(Field(number, number, self._type(size)))
        return tuple(found)

    def _type(self, size: int) -> Type:
        code = self._sleb()
        if 0 <= code < size:
            return Ref(str(code))
        if code not in BY_CODE:
            raise CandidError(f"unknown type {code}")
        return BY_CODE[code]

    # --- bytes ------------------------------------------------------------------------------

    def _byte(self) -> int:
        if self._at >= len(self._data):
            raise CandidError("the message ends too early")
        self._at += 1
        return self._data[self._at - 1]

    def _take(self, size: int) -> bytes:
        begin = self._at
        if size > len(self._data) - begin:
            raise CandidError("the message ends too early")
        self._at = begin + size
        return self._data[begin : self._at]

    def _leb_bits(self) -> tuple[int, int]:
        value = shift = 0
        for _ in range(_MAX_LEB):
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value, shift
        raise CandidError("a number is too long")

    def _leb(self) -> int:
        return self._leb_bits()[0]

    def _sleb(self) -> int:
        value, bits = self._leb_bits()
        return value - (1 << bits) if value >> (bits - 1) else value

    def _count(self, least: int) -> int:
        """Read how many items follow, each of at least `least` bytes."""
        count = self._leb()
        if count * least > len(self._data) - self._at:
            raise CandidError(f"the message is too short for {count} items")
        return count

    def _text(self) -> str:
        try:
            return self._take(self._leb()).decode()
        except UnicodeDecodeError as bad:
            raise CandidError("a text is not UTF-8") from bad

    def _principal(self) -> bytes:
        if self._byte() != 1:
            raise CandidError("opaque references are not supported")
        size = self._leb()
        if size > 29:
            raise CandidError("a principal is longer than 29 bytes")
        return self._take(size)

    # --- values -----------------------------------------------------------------------------

    def _value(self, wire: Type, expected: Type, depth: int) -> Any:  # noqa: ANN401  # a value of any type
        self._steps -= 1
        if self._steps < 0 or depth > _MAX_DEPTH:
            raise CandidError("the message is too complex")
        wire, expected = resolve(wire, self._wire), resolve(expected, self._expected)
        if expected == _RESERVED:
            return self._skip(wire, depth)
        if isinstance(expected, Opt):
            return self._opt(wire, expected.inner, depth)
        if isinstance(wire, Prim):
            if wire != expected and (wire.name, expected) != ("nat", PRIMS["int"]):
                raise _mismatch(wire, expected)
            return self._primitive(wire.name)
        return self._compound(wire, expected, depth)

    def _compound(self, wire: Type, expected: Type, depth: int) -> Any:  # noqa: ANN401  # a value of any type
        match wire, expected:
            case Vec(inner=left), Vec(inner=right):
                return self._vec(left, right, depth)
            case Record(), Record():
                return self._record(wire, expected, depth)
            case Variant(), Variant():
                return self._variant(wire, expected, depth)
        if not Subtyping(self._wire, self._expected).holds(wire, expected):
            raise _mismatch(wire, expected)
        return self._reference(wire)

    def _skip(self, wire: Type, depth: int) -> None:
        match wire:
            case Prim(name=name):
                self._primitive(name)
            case Opt(inner=inner):
                if self._tag():
                    self._value(inner, _RESERVED, depth + 1)
            case Vec(inner=inner):
                found = resolve(inner, self._wire)
                if isinstance(found, Prim) and found.name in FORMATS:
                    self._take(self._leb() * _NUMBERS[found.name].size)
                    return
                for _ in range(self._leb()):
                    self._value(found, _RESERVED, depth + 1)
            case Record(fields=members):
                for field in members:
                    self._value(field.type, _RESERVED, depth + 1)
            case Variant(fields=members):
                self._value(members[self._case(members)].type, _RESERVED, depth + 1)
            case _:
                self._reference(wire)

    def _tag(self) -> bool:
        tag = self._byte()
        if tag > 1:
            raise CandidError(f"a bool or opt begins with {tag}")
        return tag == 1

    def _case(self, members: tuple[Field, ...]) -> int:
        index = self._leb()
        if index >= len(members):
            raise CandidError(f"a variant has no case number {index}")
        return index

    def _reference(self, wire: Type) -> Any:  # noqa: ANN401  # a pair for a function, bytes for a service
        if isinstance(wire, Service):
            return self._principal()
        if self._byte() != 1:
            raise CandidError("opaque references are not supported")
        return self._principal(), self._text()

    def _opt(self, wire: Type, inner: Type, depth: int) -> Any:  # noqa: ANN401  # a value of any type
        if wire in (_NULL, _RESERVED):
            return None
        wrapped = nullable(inner, self._expected)
        if isinstance(wire, Opt):
            if not self._tag():
                return None
            wire = wire.inner
        elif wrapped:
            return self._skip(wire, depth)
        begin = self._at
        # As the Internet Computer's own decoder does: what can't be read as expected is absent.
        try:
            value = self._value(wire, inner, depth + 1)
        except MismatchError:
            self._at = begin
            return self._value(wire, _RESERVED, depth + 1)
        return Some(value) if wrapped else value

    def _vec(self, wire: Type, expected: Type, depth: int) -> Any:  # noqa: ANN401  # bytes or a list
        left, right = resolve(wire, self._wire), resolve(expected, self._expected)
        if left == right == _NAT8:
            return self._take(self._leb())
        count = self._leb()
        if left == right and isinstance(left, Prim) and left.name in FORMATS:
            form = FORMATS[left.name]
            raw = self._take(count * _NUMBERS[left.name].size)
            return list(struct.unpack(f"<{count}{form}", raw))
        if count == 0 and right == _NAT8:
            # An empty vector of another type is read element by element: none of them differs.
            return b""
        return [self._value(left, right, depth + 1) for _ in range(count)]

    def _record(self, wire: Record, expected: Record, depth: int) -> dict[str | int, Any]:
        found: dict[str | int, Any] = {}
        wanted = expected.fields
        place = 0
        for field in wire.fields:
            while place < len(wanted) and wanted[place].hash < field.hash:
                self._absent(found, wanted[place])
                place += 1
            if place < len(wanted) and wanted[place].hash == field.hash:
                value = self._value(field.type, wanted[place].type, depth + 1)
                found[wanted[place].label] = value
                place += 1
            else:
                self._value(field.type, _RESERVED, depth + 1)
        for missing in wanted[place:]:
            self._absent(found, missing)
        return found

    def _absent(self, found: dict[str | int, Any], field: Field) -> None:
        if not nullable(field.type, self._expected):
            raise MismatchError(f"the field {field.label} is missing")
        found[field.label] = None

    def _variant(self, wire: Variant, expected: Variant, depth: int) -> tuple[str | int, Any]:
        case = wire.fields[self._case(wire.fields)]
        for field in expected.fields:
            if field.hash == case.hash:
                return field.label, self._value(case.type, field.type, depth + 1)
        raise MismatchError(f"the variant's case {case.hash} is not expected")

    def _primitive(self, name: str) -> Any:  # noqa: ANN401  # a value of any primitive type
        form = _NUMBERS.get(name)
        if form is not None:
            raw = self._take(form.size)
            number = form.unpack(raw)[0]
            if name == "float32" and number != number:  # noqa: PLR0124 - true of NaNs only
                return Float32NaN(int.from_bytes(raw, "little"))
            return number
        if name in ("null", "reserved"):
            return None
        readers: dict[str, Callable[[], object]] = {
            "nat": self._leb,
            "int": self._sleb,
            "text": self._text,
            "principal": self._principal,
            "bool": self._tag,
        }
        if name not in readers:
            raise CandidError("there is no value of type empty")
        return readers[name]()


def _mismatch(wire: Type, expected: Type) -> MismatchError:
    def name(of: Type) -> str:
        return of.name if isinstance(of, Prim) else type(of).__name__.lower()

    return MismatchError(f"expected {name(expected)}, found {name(wire)}")
