"""Candid types as values, and what is true of types alone (Candid specification 0.1.8).

A type may refer to another by name (`Ref`), so that recursive types are finite values. Every
function that follows names takes the table of definitions with it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self, TypeAlias


class CandidError(Exception):
    """A Candid message, value or interface description that can't be used; the text says why."""


class MismatchError(CandidError):
    """A well-formed value has a type that the reader does not expect."""


class Float32NaN(float):
    """A NaN of type float32, whose bits Python's own numbers can't hold.

    Attributes:
        bits: 32 of them.
    """

    bits: int

    def __new__(cls, bits: int) -> Self:
        """A NaN with these bits."""
        made = super().__new__(cls, math.nan)
        made.bits = bits
        return made


@dataclass(frozen=True, slots=True)
class Prim:
    """A primitive type, `principal` included."""

    name: str


@dataclass(frozen=True, slots=True)
class Opt:
    """`opt inner`."""

    inner: "Type"


@dataclass(frozen=True, slots=True)
class Vec:
    """`vec inner`; `vec nat8` is handled as bytes throughout."""

    inner: "Type"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record or one case of a variant."""

    label: str | int
    hash: int
    type: "Type"


@dataclass(frozen=True, slots=True)
class Record:
    """A record; the fields are in the order of their hashes."""

    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Variant:
    """A variant; the cases are in the order of their hashes."""

    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Func:
    """A function reference's type; `modes` holds `query`, `oneway` or `composite_query`."""

    args: tuple["Type", ...]
    results: tuple["Type", ...]
    modes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Service:
    """A service reference's type: its methods, sorted by name."""

    methods: tuple[tuple[str, "Type"], ...]


@dataclass(frozen=True, slots=True)
class Ref:
    """A named type; on the wire the name is the index in the type table."""

    name: str


Type: TypeAlias = Prim | Opt | Vec | Record | Variant | Func | Service | Ref
Env: TypeAlias = Mapping[str, Type]


@dataclass(frozen=True, slots=True)
class Some:
    """A present `opt` whose content could itself be None (`opt opt t`, `opt null`)."""

    value: object


# Negative type codes of the binary format (specification, "Types").
CODES: Final[dict[str, int]] = {
    "null": -1,
    "bool": -2,
    "nat": -3,
    "int": -4,
    "nat8": -5,
    "nat16": -6,
    "nat32": -7,
    "nat64": -8,
    "int8": -9,
    "int16": -10,
    "int32": -11,
    "int64": -12,
    "float32": -13,
    "float64": -14,
    "text": -15,
    "reserved": -16,
    "empty": -17,
    "principal": -24,
}
PRIMS: Final[dict[str, Prim]] = {name: Prim(name) for name in CODES}
BY_CODE: Final[dict[int, Prim]] = {code: PRIMS[name] for name, code in CODES.items()}
OPT, VEC, RECORD, VARIANT, FUNC, SERVICE = -18, -19, -20, -21, -22, -23
BLOB: Final = Vec(PRIMS["nat8"])
# struct formats of the numbers of fixed size.
FORMATS: Final[dict[str, str]] = {
    "nat8": "B",
    "nat16": "H",
    "nat32": "I",
    "nat64": "Q",
    "int8": "b",
    "int16": "h",
    "int32": "i",
    "int64": "q",
    "float32": "f",
    "float64": "d",
}
MODES: Final[dict[int, str]] = {1: "query", 2: "oneway", 3: "composite_query"}


def field_hash(label: str | int) -> int:
    """Give the number of a field: itself, or the hash of its name modulo 2^32."""
    if isinstance(label, int):
        return label
    value = 0
    for byte in label.encode():
        value = (value * 223 + byte) & 0xFFFFFFFF
    return value


def fields(pairs: list[tuple[str | int, Type]]) -> tuple[Field, ...]:
    """Sort fields by hash.

    Raises:
        CandidError: two labels have the same hash.
    """
    made = [Field(label, field_hash(label), of) for label, of in pairs]
    made.sort(key=lambda field: field.hash)
    for before, after in pairwise(made):
        if before.hash == after.hash:
            raise CandidError(f"fields {before.label!r} and {after.label!r} have the same hash")
    return tuple(made)


def resolve(of: Type, env: Env) -> Type:
    """Follow names until a type that is not a name.

    Raises:
        CandidError: an unknown name, or names that only lead to one another.
    """
    for _ in range(len(env) + 1):
        if not isinstance(of, Ref):
            return of
        if of.name not in env:
            raise CandidError(f"the type {of.name} is not defined")
        of = env[of.name]
    raise CandidError("type definitions lead only to one another")


def nullable(of: Type, env: Env) -> bool:
    """Tell whether None is a value of this type (null, reserved and every opt).

    A missing field of such a type reads as None; a present `opt` of it is written as `Some`.
    """
    found = resolve(of, env)
    return isinstance(found, Opt) or found in (PRIMS["null"], PRIMS["reserved"])


class Subtyping:
    """Decides `left <: right` (specification, "Subtyping"); used for function references only.

    Recursive types are compared coinductively: a pair that is being compared counts as true.
    """

    def __init__(self, left: Env, right: Env) -> None:
        self._envs = (left, right)
        self._assumed: set[tuple[Type, Type, bool]] = set()

    def holds(self, left: Type, right: Type, *, swapped: bool = False) -> bool:
        """Tell whether `left <: right`; swapped: left's names are those of the right table."""
        envs = (self._envs[1], self._envs[0]) if swapped else self._envs
        key = (left, right, swapped)
        if key in self._assumed:
            return True
        self._assumed.add(key)
        a, b = resolve(left, envs[0]), resolve(right, envs[1])
        if isinstance(b, Opt) or b == PRIMS["reserved"] or a == PRIMS["empty"]:
            return True
        if isinstance(a, Prim) or isinstance(b, Prim):
            return a == b or (a, b) == (PRIMS["nat"], PRIMS["int"])
        return type(a) is type(b) and self._compound(a, b, envs, swapped=swapped)

    def _compound(self, a: Type, b: Type, envs: tuple[Env, Env], *, swapped: bool) -> bool:
        match a, b:
            case Vec(inner=left), Vec(inner=right):
                return self.holds(left, right, swapped=swapped)
            case Record(), Record():
                have = {field.hash: field.type for field in a.fields}
                return all(
                    self.holds(have[field.hash], field.type, swapped=swapped)
                    if field.hash in have
                    else nullable(field.type, envs[1])
                    for field in b.fields
                )
            case Variant(), Variant():
                have = {field.hash: field.type for field in b.fields}
                return all(
                    field.hash in have and self.holds(field.type, have[field.hash], swapped=swapped)
                    for field in a.fields
                )
            case Func(), Func():
                return a.modes == b.modes and (
                    self._sequences(b.args, a.args, swapped=not swapped)
                    and self._sequences(a.results, b.results, swapped=swapped)
                )
            case Service(), Service():
                methods = dict(a.methods)
                return all(
                    name in methods and self.holds(methods[name], of, swapped=swapped)
                    for name, of in b.methods
                )
        return False

    def _sequences(self, left: tuple[Type, ...], right: tuple[Type, ...], *, swapped: bool) -> bool:
        env = self._envs[0] if swapped else self._envs[1]
        missing = right[len(left) :]
        return all(nullable(of, env) for of in missing) and all(
            self.holds(a, b, swapped=swapped) for a, b in zip(left, right, strict=False)
        )
