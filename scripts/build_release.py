"""Build a release below `build/release`: wheel, sdist, and the archives that dfx installs.

The wheel is built from the sdist, and the archive's program from the wheel, in an environment of
its own with what `requirements/build.txt` pins. Everything carries the time of the last commit;
built twice on one system, every file has the same bytes.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.release import glibc, layout, sources, tarball  # noqa: E402 - only now can it be found

BUILD = ROOT / "build"
HERE = ROOT / "scripts" / "release"
GLIBC = (2, 35)
"""The newest glibc that a published archive may need; README.md names it."""

STARTS = (("--help",), ("create", "--help"), ("--version",))
STARTS_COUNT = 15
START_BAR_S = 0.3
SIZE_BAR = 60_000_000


def main() -> None:
    """Build all of it and tell the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--no-shims", action="store_true", help="leave out the archives for other machines"
    )
    parser.add_argument(
        "--strict", action="store_true", help="fail when it is too large or needs too new a glibc"
    )
    given = parser.parse_args()
    release, epoch = layout.release(), layout.epoch()
    built_from = sources.fingerprint()
    shutil.rmtree(release.folder, ignore_errors=True)
    release.assets.mkdir(parents=True)
    python = environment()
    wheel = packages(python, release, epoch)
    machine = layout.this_machine()
    program = frozen(python, wheel, epoch)
    publish(program, release, machine, epoch)
    if not given.no_shims:
        for other in layout.PLATFORMS:
            if other != machine:
                publish(shim(), release, other, epoch)
    for name in layout.MANIFESTS:
        shutil.copyfile(ROOT / name, release.folder / name)
    fits = tell(program, release, machine, built_from)
    if given.strict and not fits:
        raise SystemExit("This is not fit to be published.")


def environment() -> Path:
    """The Python of an environment with nothing but what is pinned; made anew when that changes."""
    folder = BUILD / "env"
    python, stamp = folder / "bin" / "python", folder / "made-from.txt"
    made_from = f"{sys.executable} {sys.version}\n{sources.PINS.read_text(encoding='utf-8')}"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != made_from:
        say("an environment with what requirements/build.txt pins")
        shutil.rmtree(folder, ignore_errors=True)
        run([sys.executable, "-m", "venv", str(folder)])
        install = [str(python), "-m", "pip", "install", "-q", "--require-hashes"]
        run([*install, "-r", str(sources.PINS)])
        stamp.write_text(made_from, encoding="utf-8")
    return python


def packages(python: Path, release: layout.Release, epoch: int) -> Path:
    """Build sdist and wheel; the wheel."""
    say("sdist and wheel")
    source = fresh(BUILD / "source")
    for name in sources.tracked():
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
        target.chmod(0o644)
    made = fresh(BUILD / "sdist")
    build = [str(python), "-m", "build", "--no-isolation", "--outdir", str(made)]
    run([*build, "--sdist", str(source)], SOURCE_DATE_EPOCH=str(epoch))
    (sdist,) = made.glob("*.tar.gz")
    published = release.assets / sdist.name
    inside = tarball.unpack(sdist, fresh(BUILD / "unpacked"))
    # Again, since setuptools writes the present time into it.
    tarball.pack(inside, published, name=inside.name, epoch=epoch)
    build[-1] = str(release.assets)
    run([*build, "--wheel", str(inside)], SOURCE_DATE_EPOCH=str(epoch))
    (wheel,) = release.assets.glob("*.whl")
    for each in (published, wheel):
        layout.write_sha256(each)
    return wheel


def frozen(python: Path, wheel: Path, epoch: int) -> Path:
    """Build the program that needs no Python; the folder with it."""
    say("the program")
    install = [str(python), "-m", "pip", "install", "-q", "--no-deps", "--force-reinstall"]
    run([*install, "--no-index", str(wheel)])
    made = fresh(BUILD / "frozen")
    run(
        [
            *(str(python), "-m", "PyInstaller", "--noconfirm", "--clean", "--log-level", "WARN"),
            *("--distpath", str(made), "--workpath", str(fresh(BUILD / "work"))),
            str(HERE / "backup.spec"),
        ],
        SOURCE_DATE_EPOCH=str(epoch),
        PYTHONHASHSEED="0",
        PYINSTALLER_CONFIG_DIR=str(BUILD / "pyinstaller"),
    )
    program = made / layout.NAME
    if sys.platform == "linux":
        strip(program)
    return program


def strip(program: Path) -> None:
    """Take the debugger's tables out of the interpreter; what wheels brought stays as it is."""
    inside = program / "_internal"
    for path in (*inside.glob("libpython*"), *inside.glob("python*/lib-dynload/*.so")):
        run(["strip", "--strip-unneeded", str(path)])


def shim() -> Path:
    """A folder with the script that runs the program installed by pipx."""
    folder = fresh(BUILD / "shim")
    shutil.copyfile(HERE / "shim.sh", folder / layout.NAME)
    (folder / layout.NAME).chmod(0o755)
    return folder


def publish(program: Path, release: layout.Release, machine: str, epoch: int) -> None:
    """Pack a program with its manifest."""
    shutil.copyfile(ROOT / layout.MANIFESTS[0], program / layout.MANIFESTS[0])
    archive = release.archive(machine)
    tarball.pack(program, archive, name=archive.name.removesuffix(".tar.gz"), epoch=epoch)
    layout.write_sha256(archive)


def tell(program: Path, release: layout.Release, machine: str, built_from: str) -> bool:
    """Print the figures, keep them in a file, and return whether it may be published."""
    archive = release.archive(machine)
    starts = {" ".join(words): start(program / layout.NAME, words) for words in STARTS}
    middle = {words: statistics.median(taken) for words, taken in starts.items()}
    libc = glibc.needed(program) if sys.platform == "linux" else None
    size = archive.stat().st_size
    figures = {
        "archive": archive.name,
        "built_from": built_from,
        "bytes": size,
        "glibc": None if libc is None else ".".join(map(str, libc)),
        "start_s": {words: round(taken, 3) for words, taken in middle.items()},
    }
    layout.FIGURES.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print()
    for path in sorted(path for path in release.folder.rglob("*") if path.suffix != ".sha256"):
        if path.is_file():
            print(f"{path.stat().st_size:>12,}  {path.relative_to(ROOT)}")
    print(f"\n{archive.name}: {size / 1e6:.1f} MB{over(size, SIZE_BAR)}", end="")
    if libc is not None:
        print(f", needs glibc {figures['glibc']}{over(libc, GLIBC)}", end="")
    print()
    for words, taken in starts.items():
        told = f"{middle[words] * 1000:.0f} ms (fastest {min(taken) * 1000:.0f} ms)"
        print(f"`backup {words}`: {told}{over(middle[words], START_BAR_S)}")
    return size <= SIZE_BAR and (libc is None or libc <= GLIBC)


def over(value: float | tuple[int, int], bar: float | tuple[int, int]) -> str:
    """A remark on a figure that is not as good as it should be."""
    return "" if value <= bar else " (MORE THAN IT SHOULD BE)"


def start(program: Path, words: tuple[str, ...]) -> list[float]:
    """Seconds that a command line takes that only prints, several times."""
    taken = []
    for _ in range(STARTS_COUNT):
        began = time.perf_counter()
        subprocess.run([str(program), *words], stdout=subprocess.DEVNULL, check=True)
        taken.append(time.perf_counter() - began)
    return taken


def fresh(folder: Path) -> Path:
    """The folder, empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def run(argv: list[str], **variables: str) -> None:
    """Run a program that must end well; what our environment tells Python stays out of it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        argv, env=kept | variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode != 0:
        sys.stderr.buffer.write(done.stdout)
        raise SystemExit(f"Failed: {' '.join(argv)}")


def say(what: str) -> None:
    """Tell a step."""
    print(f"Building {what} ...", flush=True)


if __name__ == "__main__":
    main()
