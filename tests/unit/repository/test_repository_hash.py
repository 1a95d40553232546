"""The hash of a file whose parts come in any order."""

import hashlib
import itertools
import random
import threading
from collections.abc import Iterator

import pytest

from dfx_backup.repository.ordered_hash import NoHash, OrderedHash


def never(_offset: int, _length: int) -> Iterator[bytes]:
    raise AssertionError("nothing is to be read again")


def bring(hashing: OrderedHash, offset: int, data: bytes) -> None:
    hashing.reserve(offset, len(data))
    hashing.offer(offset, data)


@pytest.mark.parametrize("seed", range(5))
def test_any_order(seed: int) -> None:
    rng = random.Random(seed)
    data = rng.randbytes(1000)
    cuts = sorted({0, 1000, *rng.sample(range(1000), 20)})
    parts = list(itertools.pairwise(cuts))
    rng.shuffle(parts)
    hashing = OrderedHash(1000)

    for start, end in parts:
        bring(hashing, start, data[start:end])

    assert hashing.finish(never) == hashlib.sha256(data).hexdigest()


def test_what_never_comes_is_zeros_whether_told_or_not() -> None:
    data = bytearray(5_000_000)
    data[100:110] = b"0123456789"
    data[4_000_000:4_000_003] = b"end"
    hashing = OrderedHash(len(data))

    hashing.skip(0, 100)
    bring(hashing, 4_000_000, b"end")
    bring(hashing, 100, b"0123456789")
    hashing.skip(3_000_000, 1_000_000)

    assert hashing.finish(never) == hashlib.sha256(data).hexdigest()


def test_an_empty_file() -> None:
    assert OrderedHash(0).finish(never) == hashlib.sha256().hexdigest()


def test_nothing_outside_and_nothing_twice() -> None:
    hashing = OrderedHash(100)
    bring(hashing, 0, b"a" * 10)
    hashing.reserve(50, 10)

    for offset, length in ((-1, 5), (95, 10), (5, 2), (50, 10)):
        with pytest.raises(ValueError, match=f"{length} bytes at {offset} "):
            hashing.reserve(offset, length)
        with pytest.raises(ValueError, match=f"{length} bytes at {offset} "):
            hashing.skip(offset, length)
    hashing.offer(50, b"b" * 10)
    bring(hashing, 55, b"c")
    with pytest.raises(ValueError, match="twice"):
        hashing.finish(never)


def test_who_is_far_ahead_waits_for_who_is_behind() -> None:
    data = random.Random(1).randbytes(100)
    hashing = OrderedHash(100, look_ahead=30)
    bring(hashing, 20, data[20:40])
    came = threading.Event()

    def ahead() -> None:
        bring(hashing, 40, data[40:])
        came.set()

    thread = threading.Thread(target=ahead)
    thread.start()
    assert not came.wait(0.05)
    bring(hashing, 0, data[:20])
    assert came.wait(10)
    thread.join()

    assert hashing.finish(never) == hashlib.sha256(data).hexdigest()


def test_what_waited_too_long_is_read_again() -> None:
    data = random.Random(1).randbytes(100)
    asked = []

    def read(offset: int, length: int) -> Iterator[bytes]:
        asked.append((offset, length))
        yield data[offset : offset + length]

    hashing = OrderedHash(100, look_ahead=30, patience_s=0.01)
    for start in (20, 40, 60, 80, 0):
        bring(hashing, start, data[start : start + 20])

    assert hashing.finish(read) == hashlib.sha256(data).hexdigest()
    assert asked == [(40, 20), (60, 20), (80, 20)]


@pytest.mark.parametrize("hashing", [OrderedHash(100, look_ahead=20), NoHash(look_ahead=20)])
def test_nobody_waits_after_an_abort(hashing: OrderedHash | NoHash) -> None:
    hashing.reserve(10, 20)
    thread = threading.Thread(target=hashing.reserve, args=(30, 20))
    thread.start()

    hashing.abort()

    thread.join(10)
    assert not thread.is_alive()


def test_without_a_hash_only_the_amount_counts() -> None:
    hashing = NoHash(look_ahead=20)
    hashing.reserve(80, 50)
    came = threading.Event()

    def second() -> None:
        hashing.reserve(0, 10)
        came.set()

    thread = threading.Thread(target=second)
    thread.start()
    assert not came.wait(0.05)
    hashing.offer(80, bytes(50))
    assert came.wait(10)
    thread.join()
    assert hashing.finish(never) is None
