"""A run's figures as text, as JSON and as a picture."""

import json
import os
import platform
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.bar import Bar
from benchmarks.cases import Case, Results
from benchmarks.peers import Run
from benchmarks.repositories import STEPS, Peak, Step, Stored
from benchmarks.repository_bars import OURS, RESTIC, added, cpu
from dfx_backup import __version__

_COLOURS = {"dfx-backup": "#2563a8", "icp": "#b5651d", "window of 3": "#6b7280"}
_OURS = "#2563a8"

_ROW, _LEFT, _WIDE = 20, 330, 520


def machine(icp_version: str) -> dict[str, object]:
    """What the figures were measured on."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "dfx_backup": __version__,
        "icp": icp_version,
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def to_text(about: dict[str, object], results: Results, bars: Sequence[Bar]) -> str:
    """Tables in Markdown, readable as they are."""
    lines = [", ".join(f"{name} {value}" for name, value in about.items()), ""]
    lines += ["| case | program | runs | MB/s | first slice to last | wall | CPU | peak | sent |"]
    lines += ["| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    for case in results.cases.values():
        lines += [_row(case, peer, runs) for peer, runs in case.runs.items()]
    for start in results.starts:
        lines.append(
            f"| start | dfx-backup {start.command} | | | | +{start.wall_s:.3f} s"
            f" | +{start.cpu_s:.3f} s | | |"
        )
    lines += ["", "MB/s are medians over whole processes, lowest and highest in brackets."]
    lines += _stored_rows(results.stored)
    if results.hashing:
        each = (f"{name} {count:.1f}" for name, count in results.hashing.items())
        lines += ["", f"Instructions for hashing a byte in a canister: {', '.join(each)}."]
    lines += ["", "| bar | measured | limit | |", "| --- | --- | --- | --- |"]
    for bar in bars:
        limit = f"{'≥' if bar.at_least else '≤'} {bar.limit:.4g}"
        verdict = "pass" if bar.passed else "MISSED" if bar.judged else "too little to judge"
        lines.append(f"| {bar.case}: {bar.what} | {bar.value:.4g} | {limit} | {verdict} |")
    return "\n".join(lines) + "\n"


def _stored_rows(stored: Stored) -> Iterator[str]:
    if stored.steps:
        yield from ("", stored.versions, "")
        yield "| repository | program | runs | CPU | wall | peak | bytes added |"
        yield "| --- | --- | --- | --- | --- | --- | --- |"
        for step in STEPS:
            yield from (_stored_row(stored, program, step) for program in (OURS, RESTIC))
        yield ""
        yield f"The changed pages alone, by zstd at level 3: {stored.changed_zstd / 1e6:.3f} MB."
    if stored.peaks:
        yield from ("", "| memory | CPU | wall | peak |", "| --- | --- | --- | --- |")
        for peak in stored.peaks:
            taken = peak.finished
            yield (
                f"| {peak.what} | {taken.cpu_s:.1f} s | {taken.wall_s:.1f} s"
                f" | {taken.peak_mb:.0f} MB |"
            )


def _stored_row(stored: Stored, program: str, step: str) -> str:
    runs = [each for each in stored.steps if (each.program, each.step) == (program, step)]
    seconds = sorted(each.finished.cpu_s for each in runs)
    wall = statistics.median(each.finished.wall_s for each in runs)
    cells = [
        step,
        program,
        str(len(runs)),
        f"{cpu(stored, program, step):.2f} s ({seconds[0]:.2f}-{seconds[-1]:.2f})",
        f"{wall:.2f} s",
        f"{max(each.finished.peak_mb for each in runs):.0f} MB",
        f"{added(stored, program, step) / 1e6:.3f} MB",
    ]
    return "| " + " | ".join(cells) + " |"


def _row(case: Case, peer: str, runs: Sequence[Run]) -> str:
    rates = sorted(run.rate for run in runs)
    well = sum(run.whole for run in runs)
    count = f"{well}" if well == len(runs) else f"{well} of {len(runs)} ended well"
    seconds = [f"{case.median(peer, lambda run: run.transfer_s):.2f} s" if runs[0].seconds else ""]
    moved = f"{case.median(peer, lambda run: run.bytes_in + run.bytes_out) / 1e6:.1f} MB"
    sent = f"{case.median(peer, lambda run: run.bytes_in) / 1e6:.1f} MB"
    cells = [
        case.title,
        peer,
        count,
        f"{case.median(peer, lambda run: run.rate):.1f} ({rates[0]:.1f}-{rates[-1]:.1f})",
        *seconds,
        f"{case.median(peer, lambda run: run.finished.wall_s):.2f} s",
        f"{case.median(peer, lambda run: run.finished.cpu_s):.2f} s",
        f"{max(run.finished.peak_mb for run in runs):.0f} MB",
        sent if case.name.startswith("upload") else moved if case.name == "stable-again" else "",
    ]
    failed = next((run.error for run in runs if run.error), None)
    return "| " + " | ".join(cells) + " |" + (f"\n| | {failed} | | | | | | | |" if failed else "")


def to_json(about: dict[str, object], results: Results, bars: Sequence[Bar]) -> str:
    """Every run by itself, and every bar."""
    cases = [
        {"name": case.name, "title": case.title, "runs": [_fields(run) for run in _runs(case)]}
        for case in results.cases.values()
    ]
    found = {
        "machine": about,
        "cases": cases,
        "starts": [asdict(start) for start in results.starts],
        "stored": {
            "versions": results.stored.versions,
            "changed_zstd": results.stored.changed_zstd,
            "steps": [_taken(each) for each in results.stored.steps],
            "peaks": [_taken(each) for each in results.stored.peaks],
        },
        "hashing": results.hashing,
        "bars": [asdict(bar) | {"passed": bar.passed} for bar in bars],
    }
    return json.dumps(found, indent=1) + "\n"


def _runs(case: Case) -> Iterator[Run]:
    for runs in case.runs.values():
        yield from runs


def _fields(run: Run) -> dict[str, object]:
    """A run without what was printed, which names paths."""
    return _taken(run)


def _taken(run: Run | Step | Peak) -> dict[str, object]:
    found: dict[str, object] = asdict(run)
    taken = run.finished
    found["finished"] = {
        "code": taken.code,
        "wall_s": round(taken.wall_s, 4),
        "cpu_s": round(taken.cpu_s, 4),
        "peak_mb": round(taken.peak_mb, 1),
    }
    return found


def to_svg(results: Results) -> str:
    """Two bars for each case and program: MB/s, and MB of memory."""
    rows = [(case, peer) for case in results.cases.values() for peer in case.runs]
    rates = [case.median(peer, lambda run: run.rate) for case, peer in rows]
    peaks = [case.median(peer, lambda run: run.finished.peak_mb) for case, peer in rows]
    half = _WIDE // 2 - 60
    height = (len(rows) + 2) * _ROW
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="11"',
        f' width="{_LEFT + _WIDE}" height="{height}">',
        f'<rect width="{_LEFT + _WIDE}" height="{height}" fill="white"/>',
        _label(_LEFT, 14, "MB/s, whole process"),
        _label(_LEFT + _WIDE // 2, 14, "MB resident at most"),
    ]
    for at, (case, peer) in enumerate(rows):
        top = (at + 1) * _ROW
        parts.append(_label(6, top + 14, f"{case.name}: {peer}"))
        for left, values in ((_LEFT, rates), (_LEFT + _WIDE // 2, peaks)):
            long = half * values[at] / max(values)
            parts.append(
                f'<rect x="{left}" y="{top + 3}" width="{long:.1f}" height="{_ROW - 6}"'
                f' fill="{_COLOURS.get(peer, "black")}"/>'
            )
            parts.append(_label(left + long + 4, top + 14, f"{values[at]:.0f}"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _label(left: float, top: float, text: str) -> str:
    return f'<text x="{left:.1f}" y="{top:.1f}">{text}</text>'
