"""Repositories side by side: `import` and `export` against restic's `backup` and `restore`."""

import filecmp
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure import Finished
from benchmarks.memories import PAGE, Memories, distinct_page, write_frame
from benchmarks.stage import Stage
from dfx_backup.repository.compression import compress

CANISTER = "rrkah-fqaaa-aaaaa-aaaaq-cai"
FIRST, CHANGED, EXPORT = "first", "changed", "export"
STEPS = (FIRST, CHANGED, EXPORT)
_PASSWORD = "benchmark"  # noqa: S105 # of repositories that live for a minute
_HEAP_PAGES = 16_384
_HOLE_PAGES = 512
"""In what is nearly all holes one page in so many holds data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command of one program.

    Attributes:
        program: "dfx-backup" or "restic".
        step: which of `STEPS`.
        finished: what the process took.
        added: bytes by which the repository grew.
        whole: it ended well, and what came back is what went in.
    """

    program: str
    step: str
    finished: Finished
    added: int
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The memory that something large took.

    Attributes:
        what: for people.
        pages: of both memories together.
        finished: what the process took.
        whole: it ended well, with the right content.
    """

    what: str
    pages: int
    finished: Finished
    whole: bool


@dataclass(slots=True, kw_only=True)
class Stored:
    """What was measured of repositories.

    Attributes:
        versions: of both programs.
        steps: in the order in which they were made.
        changed_zstd: bytes of the changed pages, each compressed at zstd's level 3.
        peaks: of large images.
    """

    versions: str = ""
    steps: list[Step] = field(default_factory=list)
    changed_zstd: int = 0
    peaks: list[Peak] = field(default_factory=list)


def compare(stage: Stage, stored: Stored, *, pages: int, rounds: int) -> Iterator[Step]:
    """Rounds of both programs, each beginning with another one; every step as it is done."""
    place = _Place(stage)
    memories = Memories(pages)
    for generation in (1, 2):
        memories.write(place.generation(generation), generation)
    stored.changed_zstd = sum(len(compress(page)) for page in memories.changed_pages())
    stored.versions = "; ".join(
        stage.child(argv).stdout.strip().splitlines()[0]
        for argv in ([*place.ours, "--version"], ["restic", "version"])
    )
    programs: list[Callable[[], Iterator[Step]]] = [place.run_ours, place.run_restic]
    for number in range(rounds):
        for program in programs[number % 2 :] + programs[: number % 2]:
            for step in program():
                stored.steps.append(step)
                yield step
    for generation in (1, 2):
        shutil.rmtree(place.generation(generation))


def measure_peaks(
    stage: Stage, stored: Stored, *, large_gib: int, sparse_gib: int
) -> Iterator[Peak]:
    """What large images take: one of distinct pages, and one that is nearly all holes."""
    place = _Place(stage)
    images = (("of distinct pages", large_gib, 1), ("nearly all holes", sparse_gib, _HOLE_PAGES))
    for sort, gib, step in images:
        pages = gib * 16_384
        folder, back = place.folder / "large", place.folder / "back"
        _write_large(folder, pages, step=step)
        for verb, work, target in (
            ("import", place.ours_imports, folder),
            ("export", place.ours_exports, back),
        ):
            done = work(target)
            whole = done.code == 0 and (target == folder or _same(folder, back, holes=step > 1))
            what = f"{verb} {gib} GiB {sort}"
            peak = Peak(what=what, pages=pages, finished=done, whole=whole)
            stored.peaks.append(peak)
            yield peak
        for each in (folder, back, place.repository):
            shutil.rmtree(each, ignore_errors=True)


def measure_huge(stage: Stage, stored: Stored, *, gib: int) -> Peak:
    """A file of so many GiB, written to and read from a store without being anywhere else."""
    place = _Place(stage)
    argv = [sys.executable, "-m", "benchmarks.huge_file", str(place.repository), str(gib)]
    done = stage.child(argv)
    shutil.rmtree(place.repository, ignore_errors=True)
    what = f"write and read {gib} GiB that lie nowhere else"
    peak = Peak(what=what, pages=gib * 16_384, finished=done, whole=done.code == 0)
    stored.peaks.append(peak)
    return peak


class _Place:
    """Where both programs work, with the same password and the same names."""

    def __init__(self, stage: Stage) -> None:
        self.folder = stage.folder / "repositories"
        self.folder.mkdir(exist_ok=True)
        self.repository = self.folder / "repository"
        self.ours = [sys.executable, "-m", "dfx_backup"]
        self._stage = stage
        self._password = self.folder / "password"
        self._password.write_text(f"{_PASSWORD}\n", "utf-8")
        self._source = self.folder / "snapshot"

    def generation(self, number: int) -> Path:
        """Where a generation waits for its turn."""
        return self.folder / f"generation-{number}"

    def run_ours(self) -> Iterator[Step]:
        """Init, two imports, an export."""
        yield from self._run("dfx-backup", self._init_ours, self.ours_imports, self.ours_exports)

    def run_restic(self) -> Iterator[Step]:
        """Init, two backups, a restore."""
        restic = ["restic", "-r", str(self.repository), "--password-file", str(self._password)]

        yield from self._run(
            "restic",
            lambda: self._stage.child([*restic, "init"]),
            lambda folder: self._stage.child([*restic, "backup", str(folder)]),
            lambda target: self._stage.child(
                [*restic, "restore", "latest", "--target", str(target)]
            ),
        )

    def _init_ours(self) -> Finished:
        return self._call("init")

    def ours_imports(self, folder: Path) -> Finished:
        """Import a folder into the repository; made when it is not there."""
        if not self.repository.exists():
            self._init_ours()
        return self._call("import", str(folder), "--canister", CANISTER, "--network", "ic")

    def ours_exports(self, target: Path) -> Finished:
        """Export the latest backup."""
        return self._call("export", "latest", str(target))

    def _call(self, *words: str) -> Finished:
        where = ["--repo", str(self.repository), "--password-file", str(self._password)]
        return self._stage.child([*self.ours, *words, *where, "--json", "--quiet"])

    def _run(
        self,
        program: str,
        init: Callable[[], Finished],
        store: Callable[[Path], Finished],
        restore: Callable[[Path], Finished],
    ) -> Iterator[Step]:
        if init().code != 0:
            raise RuntimeError(f"{program} made no repository")
        for number, step in ((1, FIRST), (2, CHANGED)):
            before = _bytes_in(self.repository)
            with self._at_its_place(number) as folder:
                done = store(folder)
            added = _bytes_in(self.repository) - before
            yield Step(program=program, step=step, finished=done, added=added, whole=done.code == 0)
        target = self.folder / "target"
        done = restore(target)
        found = next(target.rglob("metadata.json"), target).parent
        whole = done.code == 0 and _same(self.generation(2), found)
        yield Step(program=program, step=EXPORT, finished=done, added=0, whole=whole)
        shutil.rmtree(target, ignore_errors=True)
        shutil.rmtree(self.repository)

    @contextmanager
    def _at_its_place(self, number: int) -> Iterator[Path]:
        """Both generations are stored from the same path: restic looks for its parent by that."""
        self.generation(number).rename(self._source)
        try:
            yield self._source
        finally:
            self._source.rename(self.generation(number))


def _write_large(folder: Path, pages: int, *, step: int) -> None:
    """A folder with so many pages, data in every `step`-th; the others are holes."""
    folder.mkdir()
    heap = min(_HEAP_PAGES, pages // 4)
    for name, first, end in (("wasm_memory", 0, heap), ("stable_memory", heap, pages)):
        with (folder / f"{name}.bin").open("wb") as file:
            for number in range(first, end, step):
                file.seek((number - first) * PAGE)
                file.write(distinct_page(number))
            file.truncate((end - first) * PAGE)
    write_frame(folder, heap * PAGE, (pages - heap) * PAGE)


def _same(one: Path, other: Path, *, holes: bool = False) -> bool:
    """Whether all files of a folder are in the other one as they are; of sparse ones the sizes."""
    names = [path.name for path in one.iterdir()]
    if holes:
        return all((one / name).stat().st_size == (other / name).stat().st_size for name in names)
    filecmp.clear_cache()
    return filecmp.cmpfiles(one, other, names, shallow=False)[0] == names


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
