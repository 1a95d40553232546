"""`make install-extension`, against the stand-in dfx: checked first, and whole or not at all."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.release import layout, tarball
from tests.fakes.dfx.install import FakeDfx

VERSION = layout.release().version
MANIFEST = (layout.ROOT / "extension.json").read_text(encoding="utf-8")
PROGRAM = f"#!/bin/sh\necho dfx-backup {VERSION}\n"


class Machine:
    """A machine with dfx and a built release, whose program is a script."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dfx = FakeDfx.install(folder)
        self.build()

    @property
    def place(self) -> Path:
        return self.dfx.cache / "extensions" / "backup"

    def build(self, *, manifest: str = MANIFEST, program: str = PROGRAM) -> None:
        source = self.folder / "source"
        source.mkdir(exist_ok=True)
        (source / "extension.json").write_text(manifest)
        (source / "backup").write_text(program)
        (source / "backup").chmod(0o755)
        release = layout.release(self.folder / "release")
        release.assets.mkdir(parents=True, exist_ok=True)
        tarball.pack(source, release.archive(layout.this_machine()), name="any", epoch=0)
        shutil.copyfile(layout.ROOT / "dependencies.json", release.folder / "dependencies.json")

    def install(self) -> subprocess.CompletedProcess[str]:
        script = layout.ROOT / "scripts" / "install_extension.py"
        return subprocess.run(
            [sys.executable, str(script), "--release", str(self.folder / "release")],
            env=self.dfx.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def extensions(self) -> list[str]:
        return sorted(each.name for each in (self.dfx.cache / "extensions").iterdir())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_dfx_runs_what_was_installed(machine: Machine) -> None:
    done = machine.install()
    assert done.returncode == 0, done.stderr
    assert f"Installed backup {VERSION} for dfx 0.32.0: {machine.place}" in done.stdout
    assert "after an upgrade of dfx" in done.stdout
    assert "`dfx cache delete`" in done.stdout
    assert machine.extensions() == ["backup"]
    assert (machine.place / "backup").stat().st_mode & 0o777 == 0o500
    ran = machine.dfx.run("backup", "list")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == f"dfx-backup {VERSION}\n"


def test_again_puts_the_new_one_in_place_of_the_old(machine: Machine) -> None:
    machine.install()
    (machine.place / "leftover").write_text("of the old one")
    machine.build(program=f"{PROGRAM}# newer\n")
    done = machine.install()
    assert done.returncode == 0, done.stderr
    assert f"in place of {VERSION}" in done.stdout
    assert sorted(each.name for each in machine.place.iterdir()) == ["backup", "extension.json"]
    assert (machine.place / "backup").read_text().endswith("# newer\n")
    assert machine.extensions() == ["backup"]


def test_other_extensions_stay(machine: Machine) -> None:
    """`dfx cache install` would remove them, so it is only run where there is no cache."""
    other = machine.dfx.add_extension("nns", "#!/bin/sh\n").parent
    fields = json.loads(MANIFEST) | {"name": "nns"}
    (other / "extension.json").write_text(json.dumps(fields))
    assert machine.install().returncode == 0
    assert machine.extensions() == ["backup", "nns"]


def test_a_missing_cache_is_installed_first(machine: Machine) -> None:
    """A folder with nothing but extensions would look like an installed cache to dfx."""
    shutil.rmtree(machine.dfx.cache)
    done = machine.install()
    assert done.returncode == 0, done.stderr
    assert (machine.dfx.cache / "dfx").is_file()
    assert (machine.place / "backup").is_file()


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ('{"name": "backup"}', "missing field `version`"),
        ("{", "EOF while parsing an object"),
        (json.dumps(json.loads(MANIFEST) | {"license": "x"}), "unknown field `license`"),
    ],
)
def test_a_manifest_that_would_break_dfx_never_gets_there(
    machine: Machine, manifest: str, said: str
) -> None:
    machine.build(manifest=manifest)
    done = machine.install()
    assert done.returncode == 1
    assert said in done.stderr
    assert machine.extensions() == []


def test_a_program_that_does_not_start_never_gets_there(machine: Machine) -> None:
    machine.install()
    machine.build(program="#!/bin/sh\nexit 1\n")
    done = machine.install()
    assert done.returncode == 1
    assert "failed with exit code 1" in done.stderr
    assert (machine.place / "backup").read_text() == PROGRAM
    assert machine.extensions() == ["backup"]


def test_another_version_never_gets_there(machine: Machine) -> None:
    machine.build(program="#!/bin/sh\necho dfx-backup 0.0.9\n")
    done = machine.install()
    assert done.returncode == 1
    assert "`make build`" in done.stderr
    assert machine.extensions() == []


def test_what_an_interrupted_run_left_is_removed(machine: Machine) -> None:
    left = machine.dfx.cache / "extensions" / ".tmp-dfx-backup-abc"
    left.mkdir(parents=True)
    assert machine.install().returncode == 0
    assert machine.extensions() == ["backup"]


def test_a_running_extension_keeps_its_files(machine: Machine) -> None:
    machine.install()
    binary = machine.place / "backup"
    binary.chmod(0o700)
    shutil.copyfile("/bin/sleep", binary)
    with subprocess.Popen([str(binary), "60"]) as running:
        done = machine.install()
        running.kill()
    assert done.returncode == 1
    assert f"is running as process {running.pid}" in done.stderr


def test_a_dfx_that_is_too_old_is_named(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.dfx = FakeDfx.install(tmp_path / "old", version="0.22.0")
    done = machine.install()
    assert done.returncode == 1
    assert f"{VERSION} is not for dfx 0.22.0" in done.stderr
    assert not machine.place.parent.exists()


def test_without_dfx_it_says_so(machine: Machine) -> None:
    (machine.dfx.bin_dir / "dfx").unlink()
    done = machine.install()
    assert done.returncode == 1
    assert "`dfx` was not found" in done.stderr


def test_without_a_build_it_names_it(machine: Machine) -> None:
    shutil.rmtree(machine.folder / "release")
    done = machine.install()
    assert done.returncode == 1
    assert "make build" in done.stderr
