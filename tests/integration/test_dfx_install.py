"""`dfx extension install` from a served release: the stand-in's, and that of dfx-core."""

import io
import json
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.release import layout, serve
from tests.fakes.dfx.install import FakeDfx
from tests.fakes.dfx.judge import judge
from tests.fakes.dfx.manifest import highest_version
from tests.fakes.dfx.rows import MANIFESTS

PROGRAM = f"#!{sys.executable}\nfrom dfx_backup.__main__ import run\nrun()\n"
MACHINE = layout.this_machine()
LAYOUT = {
    f"backup-{MACHINE}/extension.json": MANIFESTS["ours"],
    f"backup-{MACHINE}/backup": PROGRAM,
}


@dataclass(frozen=True, slots=True)
class Served:
    """A release on localhost whose files a test may change."""

    release: layout.Release
    address: str

    def archive(self, files: dict[str, str]) -> None:
        with tarfile.open(self.release.archive(MACHINE), "w:gz") as archive:
            for name, text in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(text.encode())
                archive.addfile(entry, io.BytesIO(text.encode()))

    def write(self, name: str, text: str) -> None:
        (self.release.folder / name).write_text(text, encoding="utf-8")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    release = layout.release(tmp_path / "release")
    release.assets.mkdir(parents=True)
    with serve.server(release.folder, 0) as server:
        made = Served(release, f"http://localhost:{server.server_address[1]}/extension.json")
        made.archive(LAYOUT)
        for name in layout.MANIFESTS:
            made.write(name, (layout.ROOT / name).read_text(encoding="utf-8"))
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield made
        server.shutdown()
        thread.join()


@dataclass(frozen=True, slots=True)
class Machine:
    """dfx on a machine of its own."""

    dfx: FakeDfx
    front: Path

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.front), *argv],
            env=self.dfx.environment | {"DFX_JUDGE_VERSION": self.dfx.version},
            cwd=self.dfx.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def place(self, name: str = "backup") -> Path:
        return self.dfx.cache / "extensions" / name


@pytest.fixture(params=["stand-in", pytest.param("dfx-core", marks=pytest.mark.judge)])
def front(request: pytest.FixtureRequest) -> Path | None:
    return judge() if request.param == "dfx-core" else None


def machine(folder: Path, front: Path | None, version: str = "0.32.0") -> Machine:
    dfx = FakeDfx.install(folder / "machine", version=version)
    return Machine(dfx, front or dfx.bin_dir / "dfx")


def test_it_is_installed_listed_run_and_removed(
    served: Served, front: Path | None, tmp_path: Path
) -> None:
    dfx = machine(tmp_path, front)
    done = dfx.run("extension", "install", served.address)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "Extension 'backup' version 0.1.0 installed successfully\n"
    assert ((dfx.place() / "backup").stat().st_mode & 0o777) == 0o500
    listed = dfx.run("extension", "list")
    assert (listed.returncode, listed.stdout) == (0, "backup\n")
    help_text = dfx.run("backup", "--help")
    assert "Take, list, load, delete, download and upload canister snapshots." in help_text.stdout
    ours = dfx.run("backup", "snapshot", "create", "-h")
    assert ours.returncode == 0, ours.stderr
    assert ours.stdout.startswith("Usage: dfx backup snapshot create [OPTIONS] {CANISTER}\n")
    refused = dfx.run("backup", "show", "--json")
    assert refused.returncode == 255
    assert json.loads(refused.stdout)["exit_code"] == 2
    assert refused.stderr == "Error: Extension exited with non-zero status code '2'.\n"
    gone = dfx.run("extension", "uninstall", "backup")
    assert (gone.returncode, gone.stderr) == (0, "")
    assert dfx.run("extension", "list").stderr == "No extensions installed.\n"


def test_what_is_installed_stays(served: Served, front: Path | None, tmp_path: Path) -> None:
    dfx = machine(tmp_path, front)
    assert dfx.run("extension", "install", served.address).returncode == 0
    for more in ((), ("--version", "0.1.0")):
        again = dfx.run("extension", "install", served.address, *more)
        assert again.returncode == 0
        assert again.stderr == "WARNING: Extension 'backup' version 0.1.0 is already installed\n"
    other = dfx.run("extension", "install", served.address, "--version", "0.2.0")
    assert other.returncode == 255
    assert other.stderr.splitlines()[0] == (
        "ERROR: Extension 'backup' is already installed at version 0.1.0"
    )
    assert other.stderr.splitlines()[-1] == "Error: Different version already installed"


def test_it_may_have_another_name(served: Served, front: Path | None, tmp_path: Path) -> None:
    dfx = machine(tmp_path, front)
    done = dfx.run("extension", "install", served.address, "--install-as", "vault")
    assert done.returncode == 0, done.stderr
    assert done.stderr == (
        "Extension 'backup' version 0.1.0 installed successfully, and is available as 'vault'\n"
    )
    assert sorted(each.name for each in dfx.place("vault").iterdir()) == ["extension.json", "vault"]
    ours = dfx.run("vault", "create", "--help")
    assert ours.returncode == 0, ours.stderr
    assert "Stop canisters, take snapshots" in ours.stdout
    assert dfx.run("backup", "create", "--help").returncode == 2
    dfx.dfx.refused()
    taken = dfx.run("extension", "install", served.address, "--install-as", "canister")
    assert taken.returncode == 255
    assert "cannot be installed because it conflicts with an existing command." in taken.stderr


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("backup",), "extension 'backup' not found in catalog"),
        (("../release/extension.json",), "not found in catalog"),
    ],
)
def test_a_path_is_no_address(tmp_path: Path, argv: tuple[str, ...], said: str) -> None:
    """The stand-in alone: dfx-core would ask the web for its catalogue."""
    done = machine(tmp_path, None).run("extension", "install", *argv)
    assert done.returncode == 255
    assert said in done.stderr


def test_a_file_that_is_missing(served: Served, front: Path | None, tmp_path: Path) -> None:
    dfx = machine(tmp_path, front)
    base = served.address.removesuffix("extension.json")
    for address, missing in (
        (f"{base}nowhere.json", f"{base}nowhere.json"),
        (served.address, f"{base}{served.release.tag}/backup-{MACHINE}.tar.gz"),
        (served.address, f"{base}dependencies.json"),
    ):
        (served.release.folder / missing.removeprefix(base)).unlink(missing_ok=True)
        done = dfx.run("extension", "install", address)
        assert done.returncode == 255
        told = done.stderr.splitlines()
        assert told[0].startswith("Error: HTTP status client error (404")
        assert told[0].endswith(f"for url ({missing})")
    assert dfx.run("extension", "list").stderr == "No extensions installed.\n"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "Error: No top-level directory found in archive"),
        ({"x/backup": PROGRAM}, "Error: Failed to load extension manifest"),
        (
            {"x/backup": PROGRAM, "x/extension.json": "{"},
            "Error: Failed to load extension manifest",
        ),
    ],
)
def test_an_archive_without_what_dfx_needs(
    served: Served, front: Path | None, tmp_path: Path, files: dict[str, str], said: str
) -> None:
    dfx = machine(tmp_path, front)
    served.archive(files)
    done = dfx.run("extension", "install", served.address)
    assert done.returncode == 255
    assert done.stderr.splitlines()[0] == said
    bricked = dfx.run("extension", "list")  # what was unpacked stays, and breaks every command
    assert bricked.returncode == (255 if files else 0)


def test_a_served_manifest_that_dfx_does_not_know(
    served: Served, front: Path | None, tmp_path: Path
) -> None:
    served.write("extension.json", json.dumps(json.loads(MANIFESTS["ours"]) | {"nope": 1}))
    dfx = machine(tmp_path, front)
    done = dfx.run("extension", "install", served.address)
    assert done.returncode == 255
    assert done.stderr.startswith("Error: error decoding response body")
    assert "unknown field `nope`" in done.stderr
    assert dfx.run("extension", "list").returncode == 0


VERSIONS = ("0.22.0", "0.23.0", "0.23.0-beta.3", "0.25.0", "0.30.1", "0.33.0-beta.0")


@pytest.mark.parametrize("version", VERSIONS)
def test_which_versions_of_dfx_take_it(
    served: Served, front: Path | None, tmp_path: Path, version: str
) -> None:
    done = machine(tmp_path, front, version).run("extension", "install", served.address)
    if version == "0.22.0":
        assert (done.returncode, done.stderr) == (255, "Error: No compatible version found.\n")
    else:
        assert done.returncode == 0, done.stderr


@pytest.mark.judge
@pytest.mark.parametrize(
    ("requirement", "versions"),
    [
        *(
            (requirement, ("0.23.0", "0.23.9"))
            for requirement in ("0.23", "^0.23.1", "~0.23.1", "=0.23.1", "=0.23", ">0.23", "*")
        ),
        ("<=0.23", ("0.23.9", "0.24.0")),
        (">=0.8, <0.24", ("0.23.9", "0.24.0")),
    ],
)
def test_requirements_are_read_alike(
    served: Served, tmp_path: Path, requirement: str, versions: tuple[str, ...]
) -> None:
    text = json.dumps({served.release.version: {"dfx": {"version": requirement}}})
    served.write("dependencies.json", text)
    for version in versions:
        dfx = machine(tmp_path / version, judge(), version)
        done = dfx.run("extension", "install", served.address)
        fits = highest_version(text, version) is not None
        assert done.returncode == (0 if fits else 255), done.stderr


def test_no_dependency_but_dfx(served: Served, front: Path | None, tmp_path: Path) -> None:
    served.write("dependencies.json", json.dumps({"0.1.0": {"icp": {"version": ">=1"}}}))
    done = machine(tmp_path, front).run("extension", "install", served.address)
    assert (done.returncode, done.stderr) == (
        255,
        "Error: 'dfx' is the only supported dependency\n",
    )
