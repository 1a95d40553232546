"""The bars: what the figures of a run are held against, always by figures of the same run."""

import math
from collections.abc import Iterator, Mapping

from benchmarks.bar import Bar
from benchmarks.cases import IN_FLIGHT, LATENCY_S, Case, Results
from benchmarks.peers import Icp, Ours, Run, WindowOfThree
from benchmarks.repository_bars import judge_stored
from benchmarks.stable_bars import judge_stable

SLICE_BYTES = 2_000_000
PEAK_MB = 80.0
PEAK_PER_SLICE_MB = 4.5
"""Allowed for each slice that was in flight at a time."""
SAME_PEAK = 1.15
"""Allowed for chance: how many slices are being looked at in the same moment."""
START_S = 0.3

_OURS, _ICP, _THREE = Ours.name, Icp.name, WindowOfThree.name


def judge(results: Results, *, quick: bool) -> list[Bar]:
    """Every bar of the cases that were run."""
    cases = results.cases
    bars: list[Bar] = []
    for start in results.starts:
        for what, value in (("wall", start.wall_s), ("CPU", start.cpu_s)):
            text = f"dfx-backup {start.command}: seconds of {what} over an empty Python"
            bars.append(Bar(case="start", what=text, value=value, limit=START_S))
    bars += judge_stable(cases, quick=quick)
    for case in cases.values():
        if case.name.startswith("stable"):
            continue
        bars += _whole(case)
        if case.name.startswith("loopback"):
            bars.append(_against_icp(case))
        elif case.name == "mainnet":
            bars += _mainnet(case, judged=not quick)
        elif case.name == "faults" and "mainnet" in cases:
            bars.append(_faults(case, cases["mainnet"], judged=not quick))
        elif case.name.startswith("upload"):
            bars.append(_wire(case))
        elif case.name == "sparse":
            bars.append(_disk(case))
        bars.append(_peak(case))
    bars += _same_peak(cases)
    bars += judge_stored(results.stored, quick=quick)
    return bars


def _rate(run: Run) -> float:
    return run.rate


def _transfer_rate(run: Run) -> float:
    return run.size / 1e6 / run.transfer_s


def _whole(case: Case) -> Iterator[Bar]:
    runs = case.runs.get(_OURS, [])
    share = sum(run.whole for run in runs) / len(runs) if runs else math.nan
    what = "part of the runs that end well with the right content"
    yield Bar(case=case.name, what=what, value=share, limit=1.0, at_least=True)


def _against_icp(case: Case) -> Bar:
    ratio = case.median(_OURS, _rate) / case.median(_ICP, _rate)
    what = "MB/s of the whole process, times icp's"
    return Bar(case=case.name, what=what, value=ratio, limit=1.0, at_least=True)


def _mainnet(case: Case, *, judged: bool) -> Iterator[Bar]:
    size = case.runs[_OURS][0].size
    ideal = size / 1e6 / (math.ceil(size / SLICE_BYTES / IN_FLIGHT) * LATENCY_S)
    ours = case.median(_OURS, _transfer_rate)
    what = "MB/s from first slice to last, times the ideal"
    share = ours / ideal
    yield Bar(case=case.name, what=what, value=share, limit=0.9, at_least=True, judged=judged)
    ratio = ours / case.median(_THREE, _transfer_rate)
    what = "MB/s from first slice to last, times the window of 3's"
    yield Bar(case=case.name, what=what, value=ratio, limit=10.0, at_least=True, judged=judged)


def _faults(case: Case, without: Case, *, judged: bool) -> Bar:
    ratio = _seconds(case) / _seconds(without)
    what = "seconds from first slice to last, times those without faults"
    return Bar(case=case.name, what=what, value=ratio, limit=1.3, judged=judged)


def _seconds(case: Case) -> float:
    return case.median(_OURS, lambda run: run.transfer_s)


def _wire(case: Case) -> Bar:
    share = case.median(_OURS, lambda run: run.bytes_in / run.size)
    limit = 0.51 if case.name == "upload-half-in-one" else 0.56
    return Bar(case=case.name, what="bytes sent, per byte of the image", value=share, limit=limit)


def _disk(case: Case) -> Bar:
    share = case.median(_OURS, lambda run: run.disk / run.size)
    return Bar(case=case.name, what="bytes on the disk, per byte read", value=share, limit=0.01)


def _peak(case: Case) -> Bar:
    runs = case.runs.get(_OURS, [])
    peak = max((run.finished.peak_mb for run in runs), default=math.nan)
    window = min((run.told.get("window") or 0 for run in runs), default=0)
    limit = PEAK_MB + PEAK_PER_SLICE_MB * window
    return Bar(case=case.name, what="MB resident at most", value=peak, limit=limit)


def _same_peak(cases: Mapping[str, Case]) -> Iterator[Bar]:
    if "loopback-small" in cases and "loopback-large" in cases:
        small, large = (
            cases[name].median(_OURS, lambda run: run.finished.peak_mb)
            for name in ("loopback-small", "loopback-large")
        )
        what = "MB resident, times those of the small image"
        yield Bar(case="loopback-large", what=what, value=large / small, limit=SAME_PEAK)
