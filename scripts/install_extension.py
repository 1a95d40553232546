"""Install what `make build` built into the dfx of this machine, without its installer.

A folder without a good manifest among dfx's extensions breaks every command of dfx. So everything
is checked in a folder beside it whose name dfx skips, and only a whole extension takes its place.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.release import layout, tarball  # noqa: E402 - only now can it be found
from tests.fakes.dfx import manifest  # noqa: E402 - the same

AGAIN = (
    "Extensions belong to one version of dfx: run this again after an upgrade of dfx,\n"
    "for another version of it, and after `dfx cache delete` or `dfx cache install`."
)
SKIPPED = ".tmp-dfx-backup-"
"""How names begin that dfx takes for no extension, and we for leftovers of our own."""


def main() -> None:
    """Install it, or say why not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dfx", default="dfx", metavar="PROGRAM", help="a dfx not in PATH")
    parser.add_argument(
        "--release", type=Path, default=layout.OUTPUT, metavar="DIR", help="what `make build` wrote"
    )
    given = parser.parse_args()
    release = layout.release(given.release)
    archive = release.archive(layout.this_machine())
    if not archive.is_file():
        raise SystemExit(f"There is no {archive}. Run `make build` first.")
    if shutil.which(given.dfx) is None:
        raise SystemExit(f"`{given.dfx}` was not found. Install dfx, or name it with --dfx.")
    version = told(given.dfx, "--version").split()[-1]
    check_version(release, version)
    place = extensions(given.dfx) / layout.NAME
    refuse_while_it_runs(place)
    replaced = install(archive, place, release.version)
    was = f", in place of {replaced}" if replaced else ""
    print(f"Installed {layout.NAME} {release.version} for dfx {version}{was}: {place}")
    print(f"{AGAIN}\n\n    dfx {layout.NAME} doctor\n")


def told(*argv: str) -> str:
    """What a program prints; it must end well."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"`{' '.join(argv)}` failed with exit code {done.returncode}.")
    return done.stdout.strip()


def check_version(release: layout.Release, dfx: str) -> None:
    """Refuse a dfx for which this version is not meant."""
    file = release.folder / layout.MANIFESTS[1]
    if manifest.highest_version(file.read_text(encoding="utf-8"), dfx) != release.version:
        raise SystemExit(f"{file} says that {release.version} is not for dfx {dfx}.")


def extensions(dfx: str) -> Path:
    """Where this dfx has its extensions.

    Its cache is installed when it is not there, and else left alone: to install it again would
    remove the extensions that it has.
    """
    cache = Path(told(dfx, "cache", "show")).resolve()
    if not (cache / "dfx").is_file():
        told(dfx, "cache", "install")
    if not (cache / "dfx").is_file():
        raise SystemExit(f"`{dfx} cache install` did not install {cache}.")
    return cache / "extensions"


def refuse_while_it_runs(place: Path) -> None:
    """Refuse to take files from a program that needs them, with a canister stopped perhaps."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            runs = (process / "exe").readlink() == place / layout.NAME
        except OSError:
            continue  # it has ended, or is somebody else's
        if runs:
            raise SystemExit(f"{place} is running as process {process.name}. Let it finish first.")


def install(archive: Path, place: Path, version: str) -> str | None:
    """Put a checked extension in its place; the version that stood there, if any."""
    place.parent.mkdir(exist_ok=True)
    for leftover in place.parent.glob(f"{SKIPPED}*"):
        shutil.rmtree(leftover)
    work = Path(tempfile.mkdtemp(prefix=SKIPPED, dir=place.parent))
    try:
        new = tarball.unpack(archive, work)
        check(new, version)
        replaced = None
        if place.exists():
            replaced = version_of(place)
            place.rename(work / "old")
        new.rename(place)
    finally:
        shutil.rmtree(work)
    return replaced


def check(folder: Path, version: str) -> None:
    """Refuse what would break dfx, or would not start here."""
    try:
        found = manifest.parse((folder / layout.MANIFESTS[0]).read_text(encoding="utf-8"))
    except (OSError, manifest.ManifestError) as error:
        raise SystemExit(f"dfx would not read the extension's manifest: {error}") from error
    program = folder / layout.NAME
    program.chmod(0o500)
    said = told(str(program), "--version")
    if found.version != version or said.split()[1:2] != [version]:
        raise SystemExit(
            f"The manifest is of version {found.version}, the program says {said!r}, and this is "
            f"version {version}. Run `make build` again."
        )


def version_of(place: Path) -> str:
    """The version of an installed extension."""
    try:
        text = (place / layout.MANIFESTS[0]).read_text(encoding="utf-8")
        return manifest.parse(text).version
    except (OSError, manifest.ManifestError):
        return "a broken one"


if __name__ == "__main__":
    os.umask(0o022)
    main()
