"""Trees and lists of blobs: round trips, streams cut anywhere, garbage."""

import hashlib
import itertools
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfx_backup.errors import DamageError
from dfx_backup.repository.contents import ContentBuilder, ContentTable
from dfx_backup.repository.trees import (
    DIRECTORY_MODE,
    FILE_MODE,
    Node,
    Owner,
    Tree,
    TreeDecoder,
    encode_tree,
)

OWNER = Owner(user="me", uid=1, gid=2)
EXTRA = {
    "atime": "2026-05-28T20:26:40Z",
    "ctime": "2026-05-28T20:26:40Z",
    "uid": 1,
    "gid": 2,
    "user": "me",
}
TIME = 1_780_000_000.0


def table(ids: list[bytes]) -> ContentTable:
    builder = ContentBuilder()
    for each in ids:
        builder.feed(each)
    return builder.finish()


def a_file(name: str, ids: list[bytes], size: int = 7) -> Node:
    content = table(ids)
    return Node(
        name=name, type="file", mode=FILE_MODE, mtime=TIME, size=size, content=content, extra=EXTRA
    )


def some_ids(count: int, seed: int = 1) -> list[bytes]:
    rng = random.Random(seed)
    return [rng.randbytes(32) for _ in range(count)]


def a_tree() -> tuple[Node, ...]:
    directory = Node(
        name="d",
        type="dir",
        mode=DIRECTORY_MODE,
        mtime=TIME,
        subtree=bytes(range(32)),
        extra=EXTRA,
    )
    odd = '"content":["'
    return (a_file(odd, some_ids(2)), a_file("b", some_ids(2500)), a_file("c", []), directory)


def decoded(text: bytes, cuts: list[int]) -> Tree:
    decoder = TreeDecoder("it")
    last = 0
    for cut in [*sorted(cuts), len(text)]:
        decoder.feed(text[last:cut])
        last = cut
    return decoder.finish()


@given(st.lists(st.integers(0, 400), max_size=30))
def test_a_tree_can_be_read_in_any_pieces(cuts: list[int]) -> None:
    nodes = (a_file("a", some_ids(2)), *a_tree()[2:])
    text = b"".join(encode_tree(nodes, OWNER))

    assert decoded(text, cuts).nodes == nodes


@pytest.mark.parametrize("step", [1, 63, 64, 65, 66, 67, 68, 1000, 1 << 20])
def test_large_trees(step: int) -> None:
    text = b"".join(encode_tree(a_tree(), OWNER))

    assert decoded(text, list(range(0, len(text), step))).nodes == a_tree()


def test_the_text_is_what_restic_would_write() -> None:
    first, second = some_ids(2)
    text = b"".join(encode_tree([a_file("a", [first, second]), a_tree()[3]], OWNER))

    assert text == (
        b'{"nodes":[{"name":"a","type":"file","mode":384,"mtime":"2026-05-28T20:26:40Z",'
        b'"atime":"2026-05-28T20:26:40Z","ctime":"2026-05-28T20:26:40Z","uid":1,"gid":2,'
        b'"user":"me","size":7,"content":["%s","%s"]},'
        b'{"name":"d","type":"dir","mode":2147484096,"mtime":"2026-05-28T20:26:40Z",'
        b'"atime":"2026-05-28T20:26:40Z","ctime":"2026-05-28T20:26:40Z","uid":1,"gid":2,'
        b'"user":"me","content":null,"subtree":"%s"}]}\n'
    ) % (first.hex().encode(), second.hex().encode(), bytes(range(32)).hex().encode())


def test_trees_of_others_are_read_with_spaces_and_unknown_fields() -> None:
    first, second = some_ids(2)
    document = {
        "note": {"content": [first.hex()]},
        "nodes": [
            {
                "name": 'x " \\ content',
                "type": "file",
                "mtime": "2026-05-28T20:26:40.123456789+02:00",
                "content": [first.hex(), second.hex()],
                "later": [1, {"y": "z"}],
            },
            {"name": "e", "type": "file", "mtime": "2026-05-28T20:26:40Z", "content": None},
            {"name": "l", "type": "symlink", "mtime": "2026-05-28T20:26:40Z", "linktarget": "x"},
        ],
    }

    tree = decoded(json.dumps(document, indent=2).encode(), [])

    one, empty, link = tree.nodes
    assert one.name == 'x " \\ content'
    assert list(one.content or ()) == [first, second]
    assert one.extra == {"later": [1, {"y": "z"}]}
    assert empty.content is not None
    assert len(empty.content) == 0
    assert link.content is None
    assert link.extra == {"linktarget": "x"}
    assert tree.find("e") is empty
    assert tree.find("nobody") is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b'{"nodes":[{}]}',
        b'{"nodes":[{"name":"a","type":"file","mtime":"never","content":[]}]}',
        b'{"nodes":[{"name":"a","type":"file","mtime":"2026-05-28T20:26:40Z","content":["ab"]}]}',
        b'{"nodes":[{"name":"a","type":"file","mtime":"2026-05-28T20:26:40Z","content":["xy"]}]}',
        b'{"nodes":[{"name":7,"type":"file","mtime":"2026-05-28T20:26:40Z"}]}',
        b'{"nodes":[{"name":"a","type":"file","mtime":"2026-05-28T20:26:40Z","size":-1}]}',
        b'{"nodes":[{"name":"a","type":"dir","mtime":"2026-05-28T20:26:40Z","subtree":"ab"}]}',
        b'{"nodes":[{"name":"a","type":"file","content":["' + b"ab" * 32,
    ],
)
def test_garbage_is_no_tree(text: bytes) -> None:
    with pytest.raises(DamageError, match="it can't be understood"):
        decoded(text, [])


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 1500)), max_size=6),
    st.integers(1, 5000),
)
def test_lists_of_blobs_are_lists(runs: list[tuple[int, int]], step: int) -> None:
    some = some_ids(4)
    expected = [some[number] for number, count in runs for _ in range(count)]
    joined = b"".join(expected)
    builder = ContentBuilder()
    for start in range(0, len(joined), 32 * step):
        builder.feed(joined[start : start + 32 * step])

    made = builder.finish()

    assert len(made) == len(expected)
    assert list(made) == expected
    assert [blob_id for _, count, blob_id in made.runs() for _ in range(count)] == expected
    ends = [(first, first + count) for first, count, _ in made.runs()]
    assert all(one[1] == two[0] for one, two in itertools.pairwise(ends))
    assert b"".join(made.groups()) == joined
    assert [made.has(each) for each in some] == [each in expected for each in some]
    assert made.sha256() == hashlib.sha256(joined).hexdigest()


def test_places_that_are_set() -> None:
    zero, one = some_ids(2)
    made = ContentTable(5000, zero)

    made[4999] = one
    made[1024] = one

    assert made[1024] == made[4999] == one
    assert made[1023] == made[0] == zero
    assert list(made.runs()) == [
        (0, 1024, zero),
        (1024, 1, one),
        (1025, 3974, zero),
        (4999, 1, one),
    ]
    for place in (-1, 5000):
        with pytest.raises(IndexError):
            made[place]
        with pytest.raises(IndexError):
            made[place] = one


def test_an_id_is_found_only_where_one_begins() -> None:
    made = table([b"\0" * 31 + b"\1", b"\0" * 31 + b"\1"])

    assert not made.has(b"\1" + b"\0" * 31)
    assert made.has(b"\0" * 31 + b"\1")


def test_long_equal_runs_cost_next_to_nothing() -> None:
    zero = bytes(32)
    made = ContentTable(8 << 20, zero)  # 512 GiB

    assert sum(len(group) for group in {id(group): group for group in made._groups}.values()) < 1e5
    assert list(made.runs()) == [(0, 8 << 20, zero)]
