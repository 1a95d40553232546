"""Folders as dfx makes them, with memories like those of a ledger: two generations of a canister.

8192 pages of 64 KiB: half of them nodes of B-trees with their gaps, 15 % the ledger's log, 5 %
text, 10 % random bytes, 20 % zeros, which are written out. The second generation changes 122 of
them, 1.49 %: 79 pages of B-trees that lie apart (a few balances in each), 37 pages of log where
zeros were, 6 pages of text. Everything follows from numbers, so each machine makes the same.
"""

import enum
import functools
import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dfx_backup.ic.snapshot_metadata import (
    GlobalTimer,
    HookStatus,
    SnapshotMetadata,
    SnapshotSource,
)
from dfx_backup.transfer import metadata_json
from dfx_backup.transfer.metadata_json import METADATA_NAME

PAGE = 65_536
MODULE_BYTES = 1_700_000
_ZEROS = bytes(PAGE)
_HEAP_SHARE = 8
"""One page in so many is in the heap, the others in stable memory."""
_NODE = 1024
_ENTRY = 64
_LOG_ENTRY = 128
_TAKEN_NS = 1_700_000_000 * 10**9
_WORDS = 3000
_LONGEST_REGION = 96


class Kind(enum.Enum):
    """What a page holds."""

    TREE = "tree"
    LOG = "log"
    TEXT = "text"
    RANDOM = "random"
    ZERO = "zero"


SHARES = {Kind.TREE: 0.5, Kind.LOG: 0.15, Kind.TEXT: 0.05, Kind.RANDOM: 0.1, Kind.ZERO: 0.2}


@dataclass(frozen=True)
class Memories:
    """The memories of one canister, in two generations.

    Attributes:
        pages: of both memories together.
    """

    pages: int = 8192

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        """What each page of the first generation holds: regions of 1 to 96 pages."""
        chance = random.Random(11)  # noqa: S311 # the same every time
        left = {kind: round(self.pages * share) for kind, share in SHARES.items()}
        left[Kind.TREE] += self.pages - sum(left.values())
        found: list[Kind] = []
        while len(found) < self.pages:
            kind = chance.choices(list(left), weights=list(left.values()))[0]
            count = min(left[kind], chance.randint(1, _LONGEST_REGION))
            left[kind] -= count
            found += [kind] * count
        return tuple(found)

    @cached_property
    def changed(self) -> dict[int, Kind]:
        """The pages that the second generation changes, and what they hold then."""
        chance = random.Random(12)  # noqa: S311 # the same every time
        count = round(self.pages * 0.0149)
        log, text = round(count * 0.3), round(count * 0.05)
        places: dict[Kind, list[int]] = {kind: [] for kind in Kind}
        for number, kind in enumerate(self.kinds):
            places[kind].append(number)
        found = dict.fromkeys(chance.sample(places[Kind.TREE], count - log - text), Kind.TREE)
        found |= dict.fromkeys(places[Kind.ZERO][-log:], Kind.LOG)
        return found | dict.fromkeys(places[Kind.TEXT][:text], Kind.TEXT)

    def page(self, number: int, generation: int) -> bytes:
        """A page of a generation, 1 or 2."""
        new = generation == 2 and number in self.changed
        kind = self.changed[number] if new else self.kinds[number]
        if kind is Kind.ZERO:
            return _ZEROS
        chance = random.Random(number)  # noqa: S311 # the same every time
        if kind is Kind.TREE:
            return _tree_page(chance, updates=40 if new else 0)
        if kind is Kind.LOG:
            return _log_page(chance, number)
        if kind is Kind.TEXT:
            return _text_page(random.Random(f"{number} {new}"))  # noqa: S311 # the same
        return chance.randbytes(PAGE)

    def write(self, folder: Path, generation: int) -> None:
        """Write a generation as dfx would."""
        folder.mkdir(parents=True)
        heap = self.pages // _HEAP_SHARE
        with (folder / "wasm_memory.bin").open("wb") as file:
            file.writelines(self.page(number, generation) for number in range(heap))
        with (folder / "stable_memory.bin").open("wb") as file:
            file.writelines(self.page(number, generation) for number in range(heap, self.pages))
        sizes = heap * PAGE, (self.pages - heap) * PAGE
        write_frame(folder, *sizes, version=generation)

    def changed_pages(self) -> Iterator[bytes]:
        """What the second generation has new."""
        for number in sorted(self.changed):
            yield self.page(number, 2)


def distinct_page(number: int) -> bytes:
    """A page like a B-tree's that is no other one; quicker to make than those of `Memories`."""
    page = bytearray(_DISTINCT)
    page[16:_NODE] = hashlib.shake_128(number.to_bytes(8, "little")).digest(_NODE - 16)
    return bytes(page)


def write_frame(folder: Path, heap_bytes: int, stable_bytes: int, *, version: int = 1) -> None:
    """Write what a folder has beside its memories: the module and metadata.json."""
    (folder / "wasm_module.bin").write_bytes(_module())
    metadata = SnapshotMetadata(
        source=SnapshotSource.TAKEN_FROM_CANISTER,
        taken_at_ns=_TAKEN_NS + version * 10**9,
        wasm_module_size=MODULE_BYTES,
        globals=(),
        wasm_memory_size=heap_bytes,
        stable_memory_size=stable_bytes,
        wasm_chunk_store=(),
        canister_version=version,
        certified_data=b"",
        global_timer=GlobalTimer(deadline_ns=None),
        hook_status=HookStatus.CONDITION_NOT_SATISFIED,
    )
    (folder / METADATA_NAME).write_bytes(metadata_json.to_json(metadata))


def _module() -> bytes:
    """Bytes that begin as a module does and compress as one: half of them repeat."""
    noise = hashlib.shake_256(b"module").digest(MODULE_BYTES // 2)
    pieces = [
        noise[at : at + 40] + noise[at // 2 : at // 2 + 40] for at in range(0, len(noise), 40)
    ]
    return (b"\0asm\1\0\0\0" + b"".join(pieces)).ljust(MODULE_BYTES, b"\0")[:MODULE_BYTES]


def _tree_page(chance: random.Random, *, updates: int) -> bytes:
    """Nodes of 1 KiB: a head, then entries of a random key and a balance, then a gap."""
    page = bytearray(PAGE)
    count = PAGE // _ENTRY
    page[0::_ENTRY] = b"\x1d" * count  # length of a principal
    page[31::_ENTRY] = b"\x02" * count  # its kind
    for column in (*range(1, 29), *range(40, 45)):
        page[column::_ENTRY] = chance.randbytes(count)
    for at, fill in zip(range(0, PAGE, _NODE), chance.randbytes(PAGE // _NODE), strict=True):
        used = _ENTRY * (7 + fill % 9)
        page[at : at + 16] = b"BTN\x01" + bytes([fill & 1, used // _ENTRY]) + bytes(10)
        page[at + used : at + _NODE] = bytes(_NODE - used)
    for _ in range(updates):
        at = chance.randrange(count) * _ENTRY + 40
        page[at : at + 5] = chance.randbytes(5)
    return bytes(page)


def _log_page(chance: random.Random, number: int) -> bytes:
    """Entries of 128 bytes: index, time, two of some accounts, amount, and the parent's hash."""
    page = bytearray(PAGE)
    count = PAGE // _LOG_ENTRY
    page[0::_LOG_ENTRY] = bytes(at & 255 for at in range(count))
    page[1::_LOG_ENTRY] = bytes(at >> 8 for at in range(count))
    page[2::_LOG_ENTRY] = bytes([number & 255]) * count
    page[3::_LOG_ENTRY] = bytes([number >> 8]) * count
    for column in (*range(8, 12), *range(88, 92), *range(96, 128)):
        page[column::_LOG_ENTRY] = chance.randbytes(count)
    accounts = [chance.randbytes(29) for _ in range(64)]
    picks = chance.randbytes(2 * count)
    for at in range(count):
        start = at * _LOG_ENTRY + 20
        page[start : start + 29] = accounts[picks[2 * at] & 63]
        page[start + 34 : start + 63] = accounts[picks[2 * at + 1] & 63]
    return bytes(page)


def _text_page(chance: random.Random) -> bytes:
    text = b" ".join(chance.choices(_sentences(), k=PAGE // 40))
    return text[:PAGE].ljust(PAGE)


@functools.cache
def _sentences() -> list[bytes]:
    chance = random.Random(13)  # noqa: S311 # the same every time
    letters = b"etaoinshrdlucmfwypvbgkjqxz"
    weights = [1 / (rank + 2) for rank in range(len(letters))]
    words = [
        bytes(chance.choices(letters, weights, k=chance.randint(2, 11))) for _ in range(_WORDS)
    ]
    common = [1 / (rank + 3) for rank in range(_WORDS)]
    return [b" ".join(chance.choices(words, common, k=9)) + b"." for _ in range(20_000)]


_DISTINCT = _tree_page(random.Random(14), updates=0)  # noqa: S311 # the same every time
