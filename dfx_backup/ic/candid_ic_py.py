"""From ic-py's Candid types to ours, so that its `Canister` reads replies through our reader.

Its own reader needs most of a minute for a blob of 2 MB, and fails where a reply has evolved.
"""

import functools
from typing import Any

from dfx_backup.ic import candid_types as ct
from dfx_backup.ic.candid_reader import Shape, decode

_SIMPLE: dict[str, ct.Type] = {
    "EmptyClass": ct.EMPTY,
    "BoolClass": ct.BOOL,
    "NullClass": ct.NULL,
    "ReservedClass": ct.RESERVED,
    "TextClass": ct.TEXT,
    "IntClass": ct.INT,
    "NatClass": ct.NAT,
    "PrincipalClass": ct.PRINCIPAL,
}
_SIZED: dict[tuple[str, int], ct.Type] = {
    ("FloatClass", 32): ct.FLOAT32,
    ("FloatClass", 64): ct.FLOAT64,
    ("FixedNatClass", 8): ct.NAT8,
    ("FixedNatClass", 16): ct.NAT16,
    ("FixedNatClass", 32): ct.NAT32,
    ("FixedNatClass", 64): ct.NAT64,
    ("FixedIntClass", 8): ct.INT8,
    ("FixedIntClass", 16): ct.INT16,
    ("FixedIntClass", 32): ct.INT32,
    ("FixedIntClass", 64): ct.INT64,
}


class UnreadTypeError(ct.CandidError):
    """A reply is to be of a type that our reader leaves to ic-py: a function or a service."""


def decode_like_ic_py(data: bytes, types: Any, shape: Shape) -> list[dict[str, Any]]:  # noqa: ANN401 # ic-py has no types
    """Decode a reply into what ic-py's `decode` gives, except that a blob is `bytes`.

    Args:
        data: the reply.
        types: ic-py's types: a list, a single one, or None for those of the sender.
        shape: how values look.

    Raises:
        CandidError: the reply is malformed or of another type.
        UnreadTypeError: it is to hold a function or a service.
    """
    if types is None:
        return [{"type": None, "value": value} for value in decode(data, None, shape=shape)]
    listed = types if isinstance(types, list) else [types]
    values = decode(data, [our_type(type_) for type_ in listed], shape=shape)
    return [
        {"type": type_.name, "value": value} for type_, value in zip(listed, values, strict=True)
    ]


def our_type(theirs: Any) -> ct.Type:  # noqa: ANN401 # ic-py has no types
    """Our type for one of ic-py's.

    Raises:
        UnreadTypeError: it is a function or a service.
    """
    kind = type(theirs).__name__
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    if kind in ("FloatClass", "FixedNatClass", "FixedIntClass"):
        return _SIZED[kind, theirs._bits]  # noqa: SLF001 # ic-py shows its types' parts nowhere else
    if kind in ("OptClass", "VecClass"):
        inner = our_type(theirs._type)  # noqa: SLF001 # as above
        return ct.Opt(inner) if kind == "OptClass" else ct.Vec(inner)
    if kind in ("RecordClass", "TupleClass"):
        return ct.Record(_fields(theirs), positional=kind == "TupleClass")
    if kind == "VariantClass":
        return ct.Variant(_fields(theirs))
    if kind == "RecClass":
        return ct.Lazy(functools.partial(_filled, theirs))
    raise UnreadTypeError(f"replies with Candid's {kind.removesuffix('Class').lower()}")


def _fields(theirs: Any) -> tuple[ct.Field, ...]:  # noqa: ANN401 # ic-py has no types
    made = [
        ct.Field(_tag(name), name, our_type(inner))
        for name, inner in theirs._fields.items()  # as above
    ]
    return tuple(sorted(made, key=lambda field: field.tag))


def _tag(name: str) -> int:
    """The tag of a label as ic-py keeps it: numbered fields are called `_0`, `_1` and so on."""
    number = name.removeprefix("_")
    numbered = name.startswith("_") and number.isascii() and number.isdecimal()
    return int(number) if numbered else ct.label_tag(name)


def _filled(theirs: Any) -> ct.Type:  # noqa: ANN401 # ic-py has no types
    return our_type(theirs.getType())
