"""`--version`: our own, and those of the tools, whatever state they are in."""

import time
from pathlib import Path

import pytest

from dfx_backup import __version__
from tests.fakes.dfx.install import FakeDfx
from tests.fakes.stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def tool(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("script", "version", "problem"),
    [
        ("echo icp 1.5.0", "1.5.0", None),
        ("echo icp 1.5.0 >&2; exit 1", None, "tells no version"),
        ("echo nonsense", None, "tells no version"),
        ("printf '\\033[2J\\377'", None, "tells no version"),
        ("trap '' TERM; sleep 600", None, "tells no version within 3 s"),
    ],
)
def test_a_tool_in_any_state(
    stage: Stage, tmp_path: Path, script: str, version: str | None, problem: str | None
) -> None:
    path = tool(tmp_path / "bin", "icp", script)
    began = time.monotonic()

    env = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    assert stage.run("--version", "--json", env=env) == 0

    assert time.monotonic() - began < 60
    told = {"name": "icp", "version": version, "path": str(path), "problem": problem}
    data = stage.envelope["data"]
    assert data["tools"][1] == told
    assert data["version"] == __version__
    assert stage.stderr == ""


def test_a_program_that_cannot_be_started(stage: Stage, tmp_path: Path) -> None:
    path = tool(tmp_path / "bin", "icp", "")
    path.write_text("#!/nowhere/at-all\n")

    assert stage.run("--version", env={"PATH": str(tmp_path / "bin")}) == 0
    assert stage.stdout.splitlines()[-1] == f"icp tells no version ({path})"


def test_the_dfx_that_started_us_comes_first(stage: Stage, tmp_path: Path) -> None:
    cached = tool(tmp_path / "cache", "dfx", "echo dfx 0.29.2")
    tool(tmp_path / "bin", "dfx", "echo dfx 0.32.0")
    env = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}

    assert stage.run("--version", env=env, cache_path=tmp_path / "cache") == 0
    assert stage.stdout.splitlines()[1] == f"dfx 0.29.2 ({cached})"


def test_the_stand_in_dfx(stage: Stage, tmp_path: Path) -> None:
    dfx = FakeDfx.install(tmp_path)

    assert stage.run("--version", env=dfx.environment) == 0
    assert stage.stdout.splitlines()[1].startswith("dfx 0.32.0 (")
