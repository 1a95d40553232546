"""What is measured: rounds of the programs side by side, with the replica as the case wants it."""

import shutil
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks import images, peers, stable
from benchmarks.images import Image
from benchmarks.peers import Icp, Ours, Peer, Run, WindowOfThree
from benchmarks.repositories import Peak, Step, Stored, compare, measure_huge, measure_peaks
from benchmarks.stage import Stage

LATENCY_S = 1.35
"""Median of an update call on a subnet of 13 nodes."""
IN_FLIGHT = 50
"""Calls that a node takes at a time; one more is answered 429."""
MAINNET: Mapping[str, object] = {"latency_call_s": LATENCY_S, "max_calls_in_flight": IN_FLIGHT}
FAULTY: Mapping[str, object] = {
    **MAINNET,
    "seed": 3,
    "affected_kinds": ["call"],
    "too_many_requests_rate": 0.0025,
    "http_error_rate": 0.0025,
    "http_error_status": 503,
    "drop_before_rate": 0.0025,
    "drop_after_rate": 0.0025,
}
"""One call in a hundred fails: 429, 503, dropped before and after it was executed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is done.

    Attributes:
        small, large: MiB of the two images of the case without latency.
        mainnet: MiB of the image read with latency.
        mainnet_three: MiB of the one that the window of three gets.
        sparse: GiB of the sparse image.
        rounds: of a case.
        long_rounds: of a case whose rounds are long.
        long_round_s: seconds from which a round is long.
        starts: of each command of the case about starting.
        stored: pages of the image that both programs store.
        stored_rounds: of that.
        distinct: GiB of the image without two pages alike.
        holes: GiB of the one that is nearly all holes.
        huge: GiB of the one that lies nowhere; 0 for none.
        exported: MiB of the stable memory that is exported.
        exported_rounds: of that.
        exported_sparse: MiB of the sparse one.
        exported_app: messages of a million bytes in the Motoko canister.
    """

    small: int = 256
    large: int = 2048
    mainnet: int = 2048
    mainnet_three: int = 64
    sparse: int = 64
    rounds: int = 5
    long_rounds: int = 3
    long_round_s: float = 60.0
    starts: int = 15
    stored: int = 8192
    stored_rounds: int = 5
    distinct: int = 8
    holes: int = 64
    huge: int = 512
    exported: int = 1024
    exported_rounds: int = 3
    exported_sparse: int = 8192
    exported_app: int = 64


QUICK = Sizes(
    small=256,
    large=512,
    mainnet=128,
    mainnet_three=8,
    sparse=1,
    rounds=3,
    long_rounds=1,
    long_round_s=10.0,
    starts=5,
    stored=1024,
    stored_rounds=1,
    distinct=1,
    holes=4,
    huge=0,
    exported=128,
    exported_rounds=1,
    exported_sparse=512,
    exported_app=8,
)
"""Too little to hold the rates at mainnet's shape against their bars: most is run-up and tail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What came of a case.

    Attributes:
        name: for `--only`.
        title: for people.
        runs: by program, in the order in which they were made.
    """

    name: str
    title: str
    runs: dict[str, list[Run]] = field(default_factory=dict)

    def median(self, peer: str, what: Callable[[Run], float]) -> float:
        """The median over a program's runs; NaN when it was not run."""
        found = [what(run) for run in self.runs.get(peer, [])]
        return statistics.median(found) if found else float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What starting a command takes.

    Attributes:
        command: its words.
        wall_s, cpu_s: medians of seconds beyond those of a Python that does nothing.
    """

    command: str
    wall_s: float
    cpu_s: float


@dataclass(slots=True, kw_only=True)
class Results:
    """What was measured.

    Attributes:
        cases: by name.
        starts: in the order of the commands.
        stored: of repositories.
        hashing: instructions for hashing a byte in a canister, by the kit's language.
    """

    cases: dict[str, Case] = field(default_factory=dict)
    starts: list[Start] = field(default_factory=list)
    stored: Stored = field(default_factory=Stored)
    hashing: dict[str, float] = field(default_factory=dict)


class Bench:
    """Runs cases on a stage.

    Args:
        stage: where they play.
        sizes: how much is done.
    """

    def __init__(self, stage: Stage, sizes: Sizes) -> None:
        self.results = Results()
        self._stage = stage
        self._sizes = sizes

    def start(self) -> None:
        """Commands that only print help."""
        empty = [sys.executable, "-c", "pass"]
        ours = [sys.executable, "-m", "dfx_backup"]
        commands = {"--help": [*ours, "--help"]}
        commands["snapshot list --help"] = [*ours, "snapshot", "list", "--help"]
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ("", *commands)}
        for _ in range(self._sizes.starts + 1):
            for name, argv in (("", empty), *commands.items()):
                done = self._stage.child(argv)
                taken[name].append((done.wall_s, done.cpu_s))
        medians = {
            # the first of each may still compile
            name: [statistics.median(pair[at] for pair in found[1:]) for at in (0, 1)]
            for name, found in taken.items()
        }
        base = medians.pop("")
        for name, (wall_s, cpu_s) in medians.items():
            found = Start(command=name, wall_s=wall_s - base[0], cpu_s=cpu_s - base[1])
            self.results.starts.append(found)
            _say(f"  dfx-backup {name}: {found.wall_s:.3f} s, CPU {found.cpu_s:.3f} s")

    def loopback(self) -> None:
        """Downloads without latency."""
        for label, mib in (("small", self._sizes.small), ("large", self._sizes.large)):
            case = self._case(f"loopback-{label}", f"download {mib} MiB, no latency")
            self._downloads(case, dict.fromkeys((Ours(), Icp(), WindowOfThree()), mib), {})

    def mainnet(self) -> None:
        """Downloads at mainnet's shape."""
        large, small = self._sizes.mainnet, self._sizes.mainnet_three
        title = f"download {large} MiB ({small} MiB by the window of 3), {LATENCY_S} s a call"
        case = self._case("mainnet", title)
        self._downloads(case, {Ours(): large, Icp(): large, WindowOfThree(): small}, MAINNET)

    def faults(self) -> None:
        """The same, while one call in a hundred fails."""
        large = self._sizes.mainnet
        case = self._case("faults", f"download {large} MiB, {LATENCY_S} s a call, 1 % faults")
        self._downloads(case, dict.fromkeys((Ours(), Icp()), large), FAULTY)

    def upload(self) -> None:
        """Uploads of images half of which is zero, from files without holes."""
        for image in (images.half_in_runs(), images.half_in_one()):
            how = "in runs of 1 to 64 pages" if image.name == "half-in-runs" else "in one run"
            title = f"upload {image.size >> 20} MiB, half of the pages zero {how}"
            case = self._case(f"upload-{image.name}", title)
            folder = self._folder(image)
            work = {
                peer.name: partial(peers.upload, self._stage, peer, image, folder)
                for peer in (Ours(), Icp())
            }
            self._repeat(case, work)
            shutil.rmtree(folder)

    def sparse(self) -> None:
        """One download of a large memory that is nearly all zeros."""
        image = images.sparse(self._sizes.sparse)
        case = self._case("sparse", f"download {self._sizes.sparse} GiB, nearly all zeros")
        snapshot = self._stage.snapshot(image)
        run = peers.download(self._stage, Ours(), snapshot, {})
        case.runs[run.peer] = [run]
        _tell(run)
        self._stage.forget(image)

    def repository(self) -> None:
        """Two generations into a repository and back, beside restic."""
        pages, rounds = self._sizes.stored, self._sizes.stored_rounds
        _say(f"repository: {pages * images.PAGE >> 20} MiB, two generations")
        for step in compare(self._stage, self.results.stored, pages=pages, rounds=rounds):
            _tell_taken(f"{step.program} {step.step}", step)

    def memory(self) -> None:
        """The memory that large images take on their way into a repository and back."""
        _say("memory: large images into a repository and back")
        sizes, stored = self._sizes, self.results.stored
        peaks = measure_peaks(self._stage, stored, large_gib=sizes.distinct, sparse_gib=sizes.holes)
        for peak in peaks:
            _tell_taken(peak.what, peak)
        if sizes.huge:
            peak = measure_huge(self._stage, stored, gib=sizes.huge)
            _tell_taken(peak.what, peak)

    def stable(self) -> None:
        """Exports of canisters with the kit."""
        sizes, stage, rounds = self._sizes, self._stage, self._sizes.exported_rounds
        memory = stable.RustMemory(stage, sizes.exported)
        what = f"{sizes.exported} MiB of a running canister"
        case = self._case("stable", f"copy {what}, no latency")
        self._repeat(case, memory.side_by_side(), rounds=rounds)
        title = f"export {what}, {stable.LATENCY_S} s a query"
        self._repeat(self._case("stable-queries", title), memory.queries(), rounds=rounds)
        case = self._case("stable-again", f"export {what} again, 1 % of the chunks changed")
        self._repeat(case, {stable.HASHES: memory.change_and_export}, rounds=1)
        memory.close()
        mib = sizes.exported_sparse
        case = self._case("stable-sparse", f"export {mib} MiB, nearly all zeros")
        work = partial(stable.export_sparse, stage, mib)
        self._repeat(case, {stable.CERTIFIED: work}, rounds=1)
        case = self._case("stable-motoko", f"export {sizes.exported_app} MB of a Motoko canister")
        self._repeat(case, stable.motoko(stage, sizes.exported_app), rounds=1)
        self.results.hashing = stage.kit_costs()
        _say(f"  instructions a hashed byte: {self.results.hashing}")

    def _case(self, name: str, title: str) -> Case:
        _say(f"{name}: {title}")
        return self.results.cases.setdefault(name, Case(name=name, title=title))

    def _downloads(
        self, case: Case, sizes: Mapping[Peer, int], faults: Mapping[str, object]
    ) -> None:
        work = {}
        for peer, mib in sizes.items():
            snapshot = self._stage.snapshot(images.full(mib))
            work[peer.name] = partial(peers.download, self._stage, peer, snapshot, faults)
        self._repeat(case, work)

    def _repeat(
        self, case: Case, work: Mapping[str, Callable[[], Run]], *, rounds: int = 0
    ) -> None:
        """Rounds of all programs; each round begins with another one."""
        began = time.monotonic()
        order = list(work)
        rounds, done = rounds or self._sizes.rounds, 0
        while done < rounds:
            for name in order:
                run = work[name]()
                case.runs.setdefault(name, []).append(run)
                _tell(run)
            done += 1
            order.append(order.pop(0))
            if time.monotonic() - began > self._sizes.long_round_s * done:
                rounds = min(rounds, self._sizes.long_rounds)

    def _folder(self, image: Image) -> Path:
        """A snapshot's folder with the image, its zeros written out."""
        snapshot = self._stage.snapshot(image)
        folder = self._stage.folder / image.name
        done = WindowOfThree().download(self._stage, snapshot, folder)
        if done.code != 0:
            raise RuntimeError(f"no folder to upload: {done.stderr}")
        return folder


def _tell(run: Run) -> None:
    taken = run.finished
    outcome = "" if run.whole else f"  NOT WHOLE: {run.error or 'another content'}"
    _say(
        f"  {run.peer:18} {run.rate:7.1f} MB/s  {run.transfer_s:7.2f} of {taken.wall_s:7.2f} s"
        f"  CPU {taken.cpu_s:7.2f} s  peak {taken.peak_mb:6.0f} MB{outcome}"
    )


def _tell_taken(what: str, done: Step | Peak) -> None:
    taken = done.finished
    outcome = "" if done.whole else f"  NOT WHOLE: {taken.stderr[-300:]}"
    _say(
        f"  {what}: {taken.wall_s:.2f} s  CPU {taken.cpu_s:.2f} s"
        f"  peak {taken.peak_mb:.0f} MB{outcome}"
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


CASES: Mapping[str, Callable[[Bench], None]] = {
    "start": Bench.start,
    "loopback": Bench.loopback,
    "mainnet": Bench.mainnet,
    "faults": Bench.faults,
    "upload": Bench.upload,
    "sparse": Bench.sparse,
    "repository": Bench.repository,
    "memory": Bench.memory,
    "stable": Bench.stable,
}
