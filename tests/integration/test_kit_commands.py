"""`kit rust` and `kit motoko`: files in the user's project, and in the package."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.fakes.stage import Stage

ROOT = Path(__file__).parents[2]
KIT = ROOT / "dfx_backup" / "kit"


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("language", "default"), [("rust", "canister-backup-kit"), ("motoko", "backup-kit")]
)
def test_the_kit_is_written_and_kept(stage: Stage, language: str, default: str) -> None:
    assert stage.run("kit", language) == 0
    there = below(stage.folder / default)
    interface = {"backup.did": (KIT / "backup.did").read_bytes()}
    assert there == below(KIT / language) | interface
    assert "README.md" in there
    assert f"{default}: {len(there)} files written" in stage.stdout

    removed = stage.folder / default / "README.md"
    removed.unlink()
    assert stage.run("kit", language, "--json") == 0
    files = json.loads(stage.stdout)["data"]["files"]
    assert [each["name"] for each in files if each["state"] == "written"] == ["README.md"]
    assert below(stage.folder / default) == there


def test_what_was_changed_stays_and_nothing_else_is_written(stage: Stage) -> None:
    folder = stage.folder / "lib"
    assert stage.run("kit", "rust", "--dir", "lib") == 0
    (folder / "src" / "lib.rs").write_text("// mine\n")
    (folder / "Cargo.toml").unlink()
    before = below(folder)
    assert stage.run("kit", "rust", "--dir", "lib") == 60
    assert "src/lib.rs" in stage.stderr
    assert below(folder) == before


def test_a_folder_in_a_files_place_is_no_file_of_the_kit(stage: Stage) -> None:
    (stage.folder / "lib" / "Backup.mo").mkdir(parents=True)
    assert stage.run("kit", "motoko", "--dir", "lib") == 60


def test_a_link_is_not_followed(stage: Stage) -> None:
    (stage.folder / "lib").mkdir()
    (stage.folder / "lib" / "Backup.mo").symlink_to(stage.folder / "elsewhere")
    assert stage.run("kit", "motoko", "--dir", "lib") == 60
    assert not (stage.folder / "elsewhere").exists()


def test_a_file_in_the_folders_place_is_told(stage: Stage) -> None:
    (stage.folder / "lib").write_text("a file")
    assert stage.run("kit", "motoko", "--dir", "lib") == 30
    assert "lib" in stage.stderr


def test_the_package_has_every_file_of_the_kit(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(KIT, source / "dfx_backup" / "kit")
    (source / "dfx_backup" / "kit" / "rust" / "target").mkdir()
    (source / "dfx_backup" / "kit" / "rust" / "target" / "rubbish.rs").touch()
    for name in ("pyproject.toml", "README.md", "LICENSE", "dfx_backup/__init__.py"):
        shutil.copy(ROOT / name, source / name)
    build = "import setuptools.build_meta as b, sys; print(b.build_wheel(sys.argv[1]))"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", build, str(tmp_path)],
        cwd=source,
        check=True,
        capture_output=True,
        timeout=60,
    )
    (wheel,) = tmp_path.glob("*.whl")
    packed = {
        name.removeprefix("dfx_backup/kit/")
        for name in zipfile.ZipFile(wheel).namelist()
        if name.startswith("dfx_backup/kit/")
    }
    assert packed == set(below(KIT))
