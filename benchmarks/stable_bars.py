"""The bars of exports: rates against our own snapshot download, bytes, disk and memory."""

import math
from collections.abc import Iterator, Mapping

from benchmarks.bar import Bar
from benchmarks.cases import Case
from benchmarks.stable import (
    CERTIFIED,
    HASHES,
    LATENCY_S,
    QUERIES_IN_FLIGHT,
    QUERY_BYTES,
    SNAPSHOT,
)

OF_SNAPSHOT = {CERTIFIED: 0.8, HASHES: 0.35}
OF_IDEAL = 0.8
MOVED_SHARE = 0.02
DISK_SHARE = 0.01
PEAK_MB = 80.0
PEAK_PER_SLICE_MB = 4.5


def judge_stable(cases: Mapping[str, Case], *, quick: bool) -> Iterator[Bar]:
    """Every bar of what was run; a small memory is mostly starting the program."""
    for case in cases.values():
        if not case.name.startswith("stable"):
            continue
        if case.name == "stable":
            yield from _of_snapshot(case, judged=not quick)
        elif case.name == "stable-queries":
            yield _of_ideal(case, judged=not quick)
        elif case.name == "stable-again":
            moved = case.median(HASHES, lambda run: (run.bytes_in + run.bytes_out) / run.size)
            what = "bytes moved, per byte of the memory"
            yield Bar(case=case.name, what=what, value=moved, limit=MOVED_SHARE)
        elif case.name == "stable-sparse":
            disk = case.median(CERTIFIED, lambda run: run.disk / run.size)
            what = "bytes on the disk, per byte of the memory"
            yield Bar(case=case.name, what=what, value=disk, limit=DISK_SHARE)
        for peer in case.runs:
            yield from _every(case, peer)


def _of_snapshot(case: Case, *, judged: bool) -> Iterator[Bar]:
    snapshot = case.median(SNAPSHOT, lambda run: run.rate)
    for peer, limit in OF_SNAPSHOT.items():
        share = case.median(peer, lambda run: run.rate) / snapshot
        what = f"{peer}: MB/s of the whole process, times the snapshot download's"
        yield Bar(case=case.name, what=what, value=share, limit=limit, at_least=True, judged=judged)


def _of_ideal(case: Case, *, judged: bool) -> Bar:
    size = case.runs[HASHES][0].size
    waves = math.ceil(size / QUERY_BYTES / QUERIES_IN_FLIGHT)
    share = waves * LATENCY_S / case.median(HASHES, lambda run: run.transfer_s)
    what = "queries: MB/s from the first sent to the last received, times the ideal"
    return Bar(case=case.name, what=what, value=share, limit=OF_IDEAL, at_least=True, judged=judged)


def _every(case: Case, peer: str) -> Iterator[Bar]:
    runs = case.runs[peer]
    share = sum(run.whole for run in runs) / len(runs)
    what = f"{peer}: part of the runs that end well with the right content"
    yield Bar(case=case.name, what=what, value=share, limit=1.0, at_least=True)
    if peer != SNAPSHOT:  # which has cases of its own
        window = min(run.told.get("window") or 0 for run in runs)
        limit = PEAK_MB + PEAK_PER_SLICE_MB * window
        peak = max(run.finished.peak_mb for run in runs)
        yield Bar(case=case.name, what=f"{peer}: MB resident at most", value=peak, limit=limit)
