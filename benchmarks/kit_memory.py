"""What is in the memory of canisters with the kit, so that everybody can compute it.

The Rust example fills pages of its ballast by itself (`fill` of examples/kit-rust); the Motoko one
is given messages.
"""

from array import array
from collections.abc import Iterator
from itertools import accumulate, repeat

from benchmarks.images import PAGE

SEED = 7
_ODD = 0x9E37_79B9_7F4A_7C15
_WORD = 2**64 - 1
_MESSAGE = 1_000_000


def page(number: int, seed: int = SEED) -> bytes:
    """A page of the ballast: multiples of an odd number that differs from page to page."""
    step = seed * _ODD * (2 * number + 1) & _WORD
    words = accumulate(repeat(step, PAGE // 8))
    return array("Q", [word & _WORD for word in words]).tobytes()


def message(number: int) -> str:
    """A message of a million bytes."""
    text = f"Message {number}. " * (_MESSAGE // 11)
    return text[:_MESSAGE].ljust(_MESSAGE)


def stream_of_messages(count: int) -> Iterator[bytes]:
    """The stream that the chat makes of its messages: Candid, `vec text`; piece by piece."""
    yield b"DIDL\x01\x6d\x71\x01\x00" + _leb128(count)
    for number in range(count):
        yield _leb128(_MESSAGE) + message(number).encode()


def _leb128(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])
