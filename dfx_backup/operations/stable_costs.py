"""What reading and writing a stream through a canister's own methods costs and takes.

docs/stable-memory.md tells where the numbers come from. Amounts are for a subnet of 13 nodes.
"""

import math
from dataclasses import dataclass

from dfx_backup.operations import cycles
from dfx_backup.operations.durations import Span, download_time, upload_time
from dfx_backup.transfer.stable_fetch import QUERY_WINDOW
from dfx_backup.transfer.stable_hashes import HASH_WINDOW
from dfx_backup.transfer.stable_reads import CERTIFIED_BYTES, QUERY_BYTES

HASHING = {"rust": 76, "motoko": 160}
"""Instructions for hashing one byte, at most, by the kit's language."""
_WASM64 = ("motoko",)
"""Languages whose modules are wasm64 as a rule: there an instruction counts double."""
HASHED_AT_ONCE = {"rust": 33_000_000, "motoko": 15_000_000}
"""Bytes that one call hashes in half of what it may execute."""
QUERY_S = (0.1, 0.4)
"""Seconds of one query."""
_COPY = 4
"""Instructions for copying one byte out of stable memory into an answer."""


def language(kit: str) -> str:
    """The kit's language, as `HASHING` knows it; one that is not known counts as slow."""
    first = kit.partition(" ")[0].lower()
    return first if first in HASHING else "motoko"


def hashes_cheap(kit: str) -> bool:
    """Whether a kit hashes so fast that hashes are worth their price."""
    return language(kit) == "rust"


def read_calls(size: int) -> int:
    """Certified reads of so many bytes."""
    return math.ceil(size / CERTIFIED_BYTES)


def hash_calls(size: int, kit: str) -> int:
    """Calls for the hashes of so many bytes."""
    return max(1, math.ceil(size / HASHED_AT_ONCE[language(kit)]))


def reads_cost(size: int) -> int:
    """Cycles for reading so many bytes in certified answers."""
    return read_calls(size) * _call() + _COPY * size


def hashes_cost(size: int, kit: str) -> int:
    """Cycles for certified hashes of so many bytes."""
    spoken = language(kit)
    each = cycles.execution(HASHING[spoken], wasm64=spoken in _WASM64) - cycles.execution(0)
    return hash_calls(size, kit) * _call() + each * size


def writes_cost(size: int, total: int, kit: str) -> int:
    """Cycles for an import at most: hashes of what is there, writes, and the last check."""
    sent = read_calls(size) * _call() + size * (_COPY + cycles.ingress(1) - cycles.ingress(0))
    return sent + 2 * hashes_cost(total, kit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Certified calls, seconds on mainnet, and cycles."""

    calls: int
    seconds: Span
    cycles: int


def reads(size: int, window: int) -> Price:
    """What certified reads of so many bytes take."""
    calls = read_calls(size)
    return Price(calls=calls, seconds=download_time(calls, window), cycles=reads_cost(size))


def hashes(size: int, kit: str) -> Price:
    """What certified hashes of so many bytes take, and queries for all of them at most."""
    calls = hash_calls(size, kit)
    asked, queried = download_time(calls, HASH_WINDOW), queries_time(size)
    seconds = Span(low=asked.low, high=asked.high + queried.high)
    return Price(calls=calls, seconds=seconds, cycles=hashes_cost(size, kit))


def queries_time(size: int) -> Span:
    """Seconds for queries."""
    waves = math.ceil(size / QUERY_BYTES / QUERY_WINDOW)
    return Span(low=waves * QUERY_S[0], high=waves * QUERY_S[1])


def writes_time(size: int, window: int) -> Span:
    """Seconds for writes on mainnet."""
    return upload_time(size, read_calls(size), window)


def _call() -> int:
    return cycles.execution(0) + cycles.ingress()
