"""The bars of repositories: CPU and bytes against restic's in the same run, and memory."""

import math
import statistics
from collections.abc import Callable, Iterator

from benchmarks.bar import Bar
from benchmarks.repositories import CHANGED, EXPORT, FIRST, STEPS, Peak, Step, Stored

CPU_SHARE = {FIRST: 0.5, CHANGED: 0.35, EXPORT: 0.8}
BYTES_SHARE = 1 / 6
BYTES_OF_ZSTD = 1.1
PEAK_MB = 150.0
PEAK_PER_PAGE = 150e-6
OURS, RESTIC = "dfx-backup", "restic"


def judge_stored(stored: Stored, *, quick: bool) -> Iterator[Bar]:
    """Every bar of what was run; a small image is mostly starting the program."""
    if stored.steps:
        for step in STEPS:
            ratio = cpu(stored, OURS, step) / cpu(stored, RESTIC, step)
            what = f"{step}: seconds of CPU, times restic's"
            limit = CPU_SHARE[step]
            yield Bar(case="repository", what=what, value=ratio, limit=limit, judged=not quick)
        ours = added(stored, OURS, CHANGED)
        ratio = ours / added(stored, RESTIC, CHANGED)
        what = "changed: bytes added, times those that restic adds"
        yield Bar(case="repository", what=what, value=ratio, limit=BYTES_SHARE, judged=not quick)
        ratio = ours / stored.changed_zstd
        what = "changed: bytes added, times the changed pages by zstd"
        yield Bar(case="repository", what=what, value=ratio, limit=BYTES_OF_ZSTD, judged=not quick)
        yield _whole("repository", stored.steps)
    for peak in stored.peaks:
        limit = PEAK_MB + PEAK_PER_PAGE * peak.pages
        what = f"{peak.what}: MB resident at most"
        yield Bar(case="memory", what=what, value=peak.finished.peak_mb, limit=limit)
    if stored.peaks:
        yield _whole("memory", stored.peaks)


def cpu(stored: Stored, program: str, step: str) -> float:
    """Median of a program's seconds of CPU; NaN when it was not run."""
    return _median(stored, program, step, lambda found: found.finished.cpu_s)


def added(stored: Stored, program: str, step: str) -> float:
    """Median of the bytes by which a program's repository grew."""
    return _median(stored, program, step, lambda found: found.added)


def _median(stored: Stored, program: str, step: str, what: Callable[[Step], float]) -> float:
    found = [what(each) for each in stored.steps if (each.program, each.step) == (program, step)]
    return statistics.median(found) if found else math.nan


def _whole(case: str, done: "list[Step] | list[Peak]") -> Bar:
    share = sum(each.whole for each in done) / len(done)
    what = "part of the runs that end well with the right content"
    return Bar(case=case, what=what, value=share, limit=1.0, at_least=True)
