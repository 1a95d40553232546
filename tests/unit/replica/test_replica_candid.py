import struct
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfx_backup.replica.candid import (
    CandidError,
    Codec,
    MismatchError,
    Some,
    decode,
    encode,
    parse_did,
)
from dfx_backup.replica.candid_types import (
    BLOB,
    FORMATS,
    PRIMS,
    Func,
    Opt,
    Record,
    Ref,
    Service,
    Variant,
    Vec,
    field_hash,
    fields,
)


def kind(text: Any) -> Any:
    """Parse one type written in Candid."""
    return parse_did(f"type t = {text};").types["t"]


def read(data: Any, wanted: Any, env: Any = None) -> Any:
    return decode(data, [kind(wanted) if isinstance(wanted, str) else wanted], env)[0]


def write(of: Any, value: Any, env: Any = None) -> Any:
    return encode([kind(of) if isinstance(of, str) else of], [value], env)


# --- known bytes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "value", "wire"),
    [
        ("nat", 624485, "4449444c00017de58e26"),
        ("int", -123456, "4449444c00017cc0bb78"),
        ("bool", True, "4449444c00017e01"),
        ("text", "☃", "4449444c00017103e29883"),
        ("nat16", 0x1234, "4449444c00017a3412"),
        ("float64", 1.5, "4449444c000172000000000000f83f"),
        ("principal", b"\xca\xff\xee", "4449444c0001680103caffee"),
        ("opt nat8", 5, "4449444c016e7b01000105"),
        ("blob", b"\x01\x02", "4449444c016d7b0100020102"),
        ("vec bool", [True, False], "4449444c016d7e0100020100"),
        ("record { foo : nat }", {"foo": 42}, "4449444c016c0186 8eb7027d01002a".replace(" ", "")),
        ("variant { foo }", ("foo", None), "4449444c016b01868eb7027f010000"),
    ],
)
def test_known_messages(of: Any, value: Any, wire: Any) -> None:
    assert write(of, value).hex() == wire
    assert read(bytes.fromhex(wire), of) == value


def test_field_hashes() -> None:
    assert field_hash("foo") == 5097222
    assert field_hash(7) == 7
    assert [f.label for f in fields([("zz", PRIMS["nat"]), (1, PRIMS["nat"])])] == [1, "zz"]


def test_recursive_type() -> None:
    found = parse_did("type list = opt record { head : nat; tail : list };")
    value = {"head": 1, "tail": {"head": 2, "tail": None}}
    data = encode([Ref("list")], [value], found.types)
    assert decode(data, [Ref("list")], found.types) == [value]


def test_several_values_and_references() -> None:
    env = parse_did("type f = func (nat) -> () query; type s = service { a : f };").types
    values = [(b"\x04", "go"), b"\x01\x02", 7]
    types = [Ref("f"), Ref("s"), PRIMS["nat"]]
    assert decode(encode(types, values, env), types, env) == values


# --- subtyping -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "value", "wanted", "result"),
    [
        ("record { a : nat; b : text }", {"a": 1, "b": "x"}, "record { a : nat }", {"a": 1}),
        ("record {}", {}, "record { a : opt nat }", {"a": None}),
        ("record {}", {}, "record { a : null; b : reserved }", {"a": None, "b": None}),
        ("nat", 3, "int", 3),
        ("vec nat", [1, 2], "vec int", [1, 2]),
        ("nat", 3, "opt nat", 3),
        ("text", "x", "opt nat", None),
        ("opt text", "x", "opt nat", None),
        ("null", None, "opt nat", None),
        ("reserved", None, "opt nat", None),
        ("nat", 3, "opt opt nat", None),
        ("opt opt nat", Some(None), "opt opt nat", Some(None)),
        ("opt opt nat", Some(3), "opt opt nat", Some(3)),
        ("opt nat", 3, "opt null", None),
        ("vec record { a : nat }", [{"a": 1}], "reserved", None),
        ("variant { a; b : nat }", ("b", 4), "variant { a; b : nat; c }", ("b", 4)),
        ("variant { a; z }", ("a", None), "opt variant { a }", ("a", None)),
        ("variant { a; z }", ("z", None), "opt variant { a }", None),
        ("opt variant { z : text }", ("z", "t"), "opt variant { a }", None),
        ("vec null", [], "blob", b""),
        (
            "record { x : func (opt nat) -> (nat); y : nat }",
            {"x": (b"\1", "m"), "y": 1},
            "record { x : func (nat) -> (int); y : nat }",
            {"x": (b"\1", "m"), "y": 1},
        ),
        (
            "record { skipped : variant { a : vec record { opt text; float32 } }; y : nat8 }",
            {"skipped": ("a", [{0: "x", 1: 1.0}]), "y": 1},
            "record { y : nat8 }",
            {"y": 1},
        ),
    ],
)
def test_subtypes_are_read(sent: Any, value: Any, wanted: Any, result: Any) -> None:
    assert read(write(sent, value), wanted) == result


@pytest.mark.parametrize(
    ("sent", "value", "wanted"),
    [
        ("int", 3, "nat"),
        ("nat8", 3, "nat"),
        ("record { a : nat }", {"a": 1}, "record { a : nat; b : nat }"),
        ("variant { a; z }", ("z", None), "variant { a }"),
        ("opt nat", 3, "nat"),
        ("vec nat16", [1], "blob"),
        ("record {}", {}, "variant { a }"),
        ("null", None, "record {}"),
        ("func (nat) -> ()", (b"\1", "m"), "func (int) -> ()"),
        ("func (nat) -> () query", (b"\1", "m"), "func (nat) -> ()"),
        ("service { a : (nat) -> () }", b"\1", "service { b : (nat) -> () }"),
    ],
)
def test_other_types_are_refused(sent: Any, value: Any, wanted: Any) -> None:
    with pytest.raises(MismatchError):
        read(write(sent, value), wanted)


def test_missing_and_extra_arguments() -> None:
    nat, opt = PRIMS["nat"], Opt(PRIMS["nat"])
    assert decode(encode([], []), [opt]) == [None]
    assert decode(encode([nat, BLOB], [1, b"x"]), [nat]) == [1]
    with pytest.raises(MismatchError):
        decode(encode([], []), [nat])


# --- round trips ---------------------------------------------------------------------------------

INTS = {
    **{f"nat{n}": st.integers(0, 2**n - 1) for n in (8, 16, 32, 64)},
    **{f"int{n}": st.integers(-(2 ** (n - 1)), 2 ** (n - 1) - 1) for n in (8, 16, 32, 64)},
}
PRIMITIVES = {
    **INTS,
    "nat": st.integers(0, 2**100),
    "int": st.integers(-(2**100), 2**100),
    "bool": st.booleans(),
    "text": st.text(max_size=8),
    "null": st.none(),
    "reserved": st.none(),
    "float64": st.floats(allow_nan=False),
    "float32": st.floats(width=32, allow_nan=False),
    "principal": st.binary(max_size=29),
}
LABELS = st.one_of(st.text(max_size=5), st.integers(0, 2**32 - 1))


def pairs(inner: Any) -> Any:
    return st.lists(st.tuples(LABELS, inner), max_size=4, unique_by=lambda p: field_hash(p[0])).map(
        fields
    )


TYPES = st.recursive(
    st.sampled_from([PRIMS[name] for name in PRIMITIVES]),
    lambda inner: st.one_of(
        inner.map(Opt),
        inner.map(Vec),
        st.just(BLOB),
        pairs(inner).map(Record),
        pairs(inner).filter(bool).map(Variant),
    ),
    max_leaves=8,
)


def values(of: Any) -> Any:
    match of:
        case Opt(inner=inner):
            plain = isinstance(inner, Opt) or inner in (PRIMS["null"], PRIMS["reserved"])
            present = values(inner).map(Some) if plain else values(inner)
            return st.none() | present
        case Vec(inner=inner):
            if inner == PRIMS["nat8"]:
                return st.binary(max_size=9)
            return st.lists(values(inner), max_size=3)
        case Record(fields=members):
            return st.fixed_dictionaries({f.label: values(f.type) for f in members})
        case Variant(fields=members):
            return st.sampled_from(members).flatmap(
                lambda f: st.tuples(st.just(f.label), values(f.type))
            )
    return PRIMITIVES[of.name]


TYPED = TYPES.flatmap(lambda of: st.tuples(st.just(of), values(of)))


@given(TYPED)
@settings(max_examples=300, deadline=None)
def test_round_trip(typed: Any) -> None:
    of, value = typed
    assert decode(encode([of], [value]), [of]) == [value]


@given(TYPED)
@settings(max_examples=150, deadline=None)
def test_anything_can_be_skipped(typed: Any) -> None:
    of, value = typed
    tagged = Record(fields([("x", of), ("number", PRIMS["nat8"])]))
    data = encode([tagged], [{"x": value, "number": 7}])
    assert read(data, "record { number : nat8 }") == {"number": 7}
    assert decode(data, []) == []


@given(TYPED, TYPES, st.data())
@settings(max_examples=300, deadline=None)
def test_damage_never_crashes(typed: Any, wanted: Any, data: Any) -> None:
    message = bytearray(encode([typed[0]], [typed[1]]))
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(message) - 1))
        message[place] = data.draw(st.integers(0, 255))
    message = bytes(message[: data.draw(st.integers(0, len(message)))])
    for of in (wanted, typed[0]):
        with suppress(CandidError):
            decode(message, [of], max_steps=20_000)


@given(st.binary(max_size=80))
@settings(max_examples=300, deadline=None)
def test_garbage_never_crashes(tail: Any) -> None:
    for of in (PRIMS["reserved"], BLOB, Opt(BLOB)):
        with suppress(CandidError):
            decode(b"DIDL" + tail, [of], max_steps=20_000)


# --- bounds --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        "016d7f0100" + "ffffffff7f",  # vec null, 2^35 of them
        "016d01016c000100" + "00",  # a table that refers past its end
        "026d016c000100" + "ffffffff7f",  # vec record {}
        "016c0100000100",  # record { 0 : itself }
        "ffffffff0f",  # type table of 2^32 entries
        "000180808080" + "80" * 2000 + "00",  # a type code without end
        "00017d" + "ff" * 2000 + "00",  # a nat without end
        "016c02010102010100",  # fields not sorted
        "016b0001 0000".replace(" ", ""),  # a case of an empty variant
        "000164",  # unknown primitive
        "00017e02",  # bool 2
        "00016f",  # empty
        "00017104ffffffff",  # not UTF-8
        "000168011e" + "00" * 30,  # principal of 30 bytes
        "00016800",  # opaque reference
        "016e7b010002",  # opt tag 2
        "00017d0100",  # a byte too many
        "00",  # ends early
    ],
)
def test_bombs_are_refused(body: Any) -> None:
    begin = time.perf_counter()
    for of in (PRIMS["reserved"], kind("opt nat")):
        with pytest.raises(CandidError):
            decode(bytes.fromhex("4449444c" + body), [of])
    assert time.perf_counter() - begin < 1


def test_nesting_is_bounded() -> None:
    env = parse_did("type t = opt t;").types
    value = None
    for _ in range(500):
        value = Some(value)
    with pytest.raises(CandidError, match="deep"):
        encode([Ref("t")], [value], env)
    header = encode([Ref("t")], [None], env)[:-1]
    with pytest.raises(CandidError, match="complex"):
        decode(header + b"\1" * 5000 + b"\0", [Ref("t")], env)
    with pytest.raises(CandidError, match="nested"):
        parse_did("type t = " + "opt " * 1000 + "nat;")


def test_backtracking_is_bounded() -> None:
    # Every level of opt is tried, fails, and is skipped: the work must stay in proportion.
    found = kind("opt " * 30 + "vec text")
    sent = "opt " * 30 + "vec nat8"
    value = bytes(100_000)
    for _ in range(29):
        value = Some(value)
    begin = time.perf_counter()
    read(write(sent, value), found)
    assert time.perf_counter() - begin < 1


@pytest.mark.parametrize(
    ("of", "value"),
    [
        ("nat", -1),
        ("nat", True),
        ("nat", "1"),
        ("nat8", 256),
        ("int64", 2**63),
        ("text", b""),
        ("text", "\ud800"),
        ("bool", 1),
        ("principal", bytes(30)),
        ("empty", None),
        ("blob", "x"),
        ("vec nat", 3),
        ("vec nat16", ["x"]),
        ("record { a : nat }", {}),
        ("record { a : nat }", {"a": 1, "b": 2}),
        ("record { a : nat }", 3),
        ("variant { a }", "a"),
        ("variant { a }", ("b", None)),
        ("opt opt nat", 3),
        ("func () -> ()", 3),
        ("float64", "x"),
    ],
)
def test_wrong_values_are_refused(of: Any, value: Any) -> None:
    with pytest.raises(CandidError):
        write(of, value)


def test_wrong_number_of_values() -> None:
    with pytest.raises(CandidError, match="2 values for 1"):
        encode([PRIMS["nat"]], [1, 2])


# --- descriptions --------------------------------------------------------------------------------


def test_description() -> None:
    found = parse_did(
        """
        // a comment
        type pair = record { text; 5 : nat; bool; "a b" : blob }; /* and
        another */
        type kind = variant { one; "two" : nat; 3 };
        type callback = func (x : nat, text) -> (pair) composite_query;
        service chat : (opt pair, nat) -> {
          append : (text) -> () oneway;
          "dump all" : () -> (vec pair) query;
          later : callback
        }
        """
    )
    assert [f.label for f in sorted(found.types["pair"].fields, key=lambda f: f.hash)] == [
        0,
        5,
        6,
        "a b",
    ]
    assert {f.label for f in found.types["kind"].fields} == {"one", "two", 3}
    assert found.methods["append"] == Func((PRIMS["text"],), (), frozenset({"oneway"}))
    assert found.methods["dump all"].modes == {"query"}
    assert found.methods["later"].args == (PRIMS["nat"], PRIMS["text"])
    assert len(found.init) == 2
    aliased = parse_did("type s = service { a : () -> () }; service : s")
    assert isinstance(aliased.types["s"], Service)
    assert list(aliased.methods) == ["a"]


@pytest.mark.parametrize(
    "source",
    [
        "type a = b;",
        "type a = a;",
        "type a = record { x nat };",
        "type a = record { x : nat",
        "type a = nat; type a = text;",
        "type nat = text;",
        "service : nat",
        "type a = variant { a; a };",
        "type a = record { 4294967296 : nat };",
        'import service : "x"',
        "type a = func nat -> ();",
        "service : { 5 : () -> () }",
        "service : { a : b }",
        'type a = record { "\\ff\\u{110000}" : nat };',
        "%",
    ],
)
def test_bad_descriptions(source: Any) -> None:
    with pytest.raises(CandidError):
        parse_did(source)


@given(st.text(alphabet='type=recod{};:,()->"optvna 0159\\/*\n', max_size=60))
@settings(max_examples=300, deadline=None)
def test_garbage_descriptions_never_crash(source: Any) -> None:
    for text in (source, "type x = record {" + source):
        with suppress(CandidError):
            parse_did(text)


def test_codec() -> None:
    codec = Codec.from_did("service : { go : (nat, opt text) -> (record { out : blob }) }")
    assert codec.decode_args("go", codec.encode_args("go", 1, None)) == [1, None]
    assert codec.decode_reply("go", codec.encode_reply("go", {"out": b"x"})) == [{"out": b"x"}]
    assert codec.encode_reply("go", {"out": memoryview(b"xy")})[-2:] == b"xy"


def test_large_blobs_are_fast() -> None:
    codec = Codec.from_did(
        "service : { go : (record { chunk : blob }) -> (record { chunk : blob }) }"
    )
    blob = bytes(range(256)) * 7813
    best = [9.0, 9.0]
    for _ in range(5):
        begin = time.perf_counter()
        data = codec.encode_args("go", {"chunk": blob})
        middle = time.perf_counter()
        back = codec.decode_args("go", data)
        end = time.perf_counter()
        best = [min(best[0], middle - begin), min(best[1], end - middle)]
    assert back == [{"chunk": blob}]
    assert max(best) < 0.010


def test_number_vectors() -> None:
    for name, form in FORMATS.items():
        if name != "nat8":
            data = write(f"vec {name}", [1, 2, 3])
            assert data.endswith(b"\x03" + struct.pack(f"<3{form}", 1, 2, 3))
            assert read(data, f"vec {name}") == [1, 2, 3]
