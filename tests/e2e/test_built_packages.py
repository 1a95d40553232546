"""Wheel and sdist, installed where nothing of the source tree can be found."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dfx_backup import __version__
from scripts.release import layout, sources, tarball

pytestmark = pytest.mark.slow


def run(*argv: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {name: each for name, each in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [str(word) for word in argv],
        env=kept | env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def wheel(release: layout.Release) -> Path:
    (found,) = release.assets.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment with the wheel, and what it says that it needs."""
    folder = tmp_path_factory.mktemp("installed")
    pins = re.sub(r"\s*\\?\n\s+--hash=\S+", "", sources.PINS.read_text(encoding="utf-8"))
    (folder / "pins.txt").write_text(pins)
    assert run(sys.executable, "-m", "venv", folder / "venv", cwd=folder).returncode == 0
    pip = (folder / "venv" / "bin" / "python", "-m", "pip", "install", "-q")
    wanted = f"dfx-backup[keyring,replica,s3] @ {wheel.as_uri()}"
    done = run(*pip, "--constraint", "pins.txt", wanted, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "venv" / "bin"


def test_a_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
    about = f"dfx_backup-{__version__}.dist-info/"
    assert [name for name in names if not name.startswith(("dfx_backup/", about))] == []
    package = {name for name in names if name.startswith("dfx_backup/")}
    expected = {
        str(name)
        for name in sources.tracked(("dfx_backup",))
        if name.suffix in {".py", ".did", ".mo", ".rs", ".toml", ".md"} or name.name == "py.typed"
    }
    assert package == expected


def test_an_sdist_builds_the_same_wheel(
    release: layout.Release, wheel: Path, tmp_path: Path
) -> None:
    (sdist,) = release.assets.glob("dfx_backup-*.tar.gz")
    source = tarball.unpack(sdist, tmp_path / "sdist")
    with zipfile.ZipFile(wheel) as packed:
        made = packed.infolist()[0].date_time
    python = layout.ROOT / "build" / "env" / "bin" / "python"
    build = (python, "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path / "out")
    done = run(
        *build,
        source,
        cwd=tmp_path,
        SOURCE_DATE_EPOCH=str(layout.epoch()),
    )
    assert done.returncode == 0, done.stdout
    (again,) = (tmp_path / "out").iterdir()
    with zipfile.ZipFile(again) as one, zipfile.ZipFile(wheel) as other:
        assert one.namelist() == other.namelist()
        assert [one.read(name) for name in one.namelist()] == [
            other.read(name) for name in other.namelist()
        ]
        if one.infolist()[0].date_time == made:  # no commit has come in between
            assert again.read_bytes() == wheel.read_bytes()


def test_the_program_runs(installed: Path, tmp_path: Path) -> None:
    version = run(installed / "dfx-backup", "--version", cwd=tmp_path)
    assert version.stdout.splitlines()[0] == f"dfx-backup {__version__}", version.stderr
    shown = run(installed / "dfx-backup", "--help", cwd=tmp_path)
    golden = layout.ROOT / "tests" / "golden" / "help"
    assert shown.stdout.splitlines()[0] in "".join(
        each.read_text() for each in golden.iterdir()
    )  # what is installed, and what is tested elsewhere, are the same program


def test_nothing_of_the_source_tree_is_used(installed: Path, tmp_path: Path) -> None:
    code = "import dfx_backup; print(dfx_backup.__file__)"
    told = run(installed / "python", "-c", code, cwd=tmp_path)
    assert told.stdout.startswith(str(installed.parent)), told.stderr


def test_the_kit_is_written(installed: Path, tmp_path: Path) -> None:
    done = run(installed / "dfx-backup", "kit", "rust", "--dir", "kit", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    source = layout.ROOT / "dfx_backup" / "kit" / "rust"
    for name in ("Cargo.toml", "src/lib.rs"):
        assert (tmp_path / "kit" / name).read_bytes() == (source / name).read_bytes()


def test_the_doctor_runs(installed: Path, tmp_path: Path) -> None:
    done = run(installed / "dfx-backup", "doctor", "--json", cwd=tmp_path, HOME=str(tmp_path))
    told = json.loads(done.stdout)
    assert told["exit_code"] == done.returncode != 1
    assert told["data"]["findings"]


def test_the_replica_of_the_extra_starts(installed: Path, tmp_path: Path) -> None:
    argv = [str(installed / "python"), "-m", "dfx_backup.replica", "start", "--port", "0"]
    with subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as replica:
        assert replica.stdout is not None
        assert json.loads(replica.stdout.readline())["url"].startswith("http://127.0.0.1:")
        replica.terminate()
        assert replica.wait(timeout=30) == 0
