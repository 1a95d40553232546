"""Transfers beside icp and a stand-in for dfx, repositories beside restic, exports of memory."""

import argparse
import platform
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import report
from benchmarks.bars import judge
from benchmarks.cases import CASES, QUICK, Bench, Sizes
from benchmarks.stage import ICP, Stage


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller images, fewer rounds")
    parser.add_argument("--only", action="append", choices=CASES, help="a case; repeatable")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="folder of results")
    parser.add_argument("--work", type=Path, help="folder for images and copies, 20 GB of room")
    parser.add_argument("--no-bars", action="store_true", help="end with 0 when a bar is missed")
    return parser


def main() -> int:
    """Run cases and write the report; 1 when a bar is missed."""
    given = build_parser().parse_args()
    if platform.system() != "Linux" or not ICP.exists():
        print("error: it takes Linux, and icp: `make judges` installs it", file=sys.stderr)
        return 2
    chosen = given.only or list(CASES)
    if "repository" in chosen and shutil.which("restic") is None:
        print("error: the case `repository` takes restic", file=sys.stderr)
        return 2
    # A killed run, too, stops the replica and removes its images.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-", dir=given.work) as folder,
        Stage.open(Path(folder)) as stage,
    ):
        about = report.machine(stage.child([str(ICP), "--version"]).stdout.split()[-1])
        bench = Bench(stage, QUICK if given.quick else Sizes())
        for name in chosen:
            CASES[name](bench)
    bars = judge(bench.results, quick=given.quick)
    text = report.to_text(about, bench.results, bars)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "report.md").write_text(text, "utf-8")
    (given.out / "report.json").write_text(report.to_json(about, bench.results, bars), "utf-8")
    (given.out / "report.svg").write_text(report.to_svg(bench.results), "utf-8")
    print(text)
    judged = [bar for bar in bars if bar.judged]
    missed = sum(not bar.passed for bar in judged)
    seconds = time.monotonic() - began
    print(f"{len(judged) - missed} of {len(judged)} bars reached; {seconds:.0f} seconds.")
    return 1 if missed and not given.no_bars else 0


if __name__ == "__main__":
    sys.exit(main())
