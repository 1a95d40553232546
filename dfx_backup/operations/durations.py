"""How long operations on snapshots take on mainnet: spans, from published figures.

`docs/estimates.md` explains every formula here, with its source, and is tested against them.
"""

import math
from dataclasses import dataclass

from dfx_backup.operations.cycles import GIB
from dfx_backup.transfer.terms import SLICE_BYTES

CALL_S = (1.35, 1.75)
"""Median seconds of one update call: at the subnet, and through a gateway."""
INGRESS_RATES = (3_000_000, 6_000_000)
"""Bytes a second that a subnet takes in, when nobody else sends."""

_TAKE_S = 0.213
_LOAD_S = 0.251
_CHECKPOINT_S = 3.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Seconds, at least and at most, when nothing is wrong."""

    low: float
    high: float


def slices(*sizes: int) -> int:
    """Calls that carry sections of these sizes, in bytes."""
    return sum(math.ceil(size / SLICE_BYTES) for size in sizes)


def download_time(calls: int, window: int) -> Span:
    """Seconds for so many reads, `window` of them at a time."""
    return _waves(calls, window)


def upload_time(sent: int, calls: int, window: int) -> Span:
    """Seconds for sending so many bytes in so many calls, `window` of them at a time."""
    waves = _waves(calls, window)
    slow, fast = INGRESS_RATES
    return Span(low=max(waves.low, sent / fast), high=max(waves.high, sent / slow))


def take_outage(size: int) -> Span:
    """Seconds for stop, take and start; outstanding calls of the canister come on top."""
    return _outage(3, size, _TAKE_S)


def load_outage(size: int) -> Span:
    """Seconds for stop, safety snapshot, load and start; outstanding calls come on top."""
    return _outage(4, size, _TAKE_S + _LOAD_S)


def _waves(calls: int, window: int) -> Span:
    waves = math.ceil(calls / window)
    return Span(low=waves * CALL_S[0], high=waves * CALL_S[1])


def _outage(calls: int, size: int, per_gib: float) -> Span:
    work = size / GIB * per_gib
    return Span(low=calls * CALL_S[0] + work, high=calls * CALL_S[1] + work + _CHECKPOINT_S)
