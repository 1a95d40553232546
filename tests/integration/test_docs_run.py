"""What the documents say is done: Getting started, and the program of python-api.md."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dfx_backup.ic.principal import Principal
from dfx_backup.replica.server import ReplicaServer
from tests.contract.replica_bench import identity, note_wasm, pem
from tests.fakes.documents import ROOT, block, blocks, typed

START = ROOT / "docs" / "getting-started.md"
API = ROOT / "docs" / "python-api.md"
PATIENCE_S = 100
MARK = "== "


@pytest.fixture
def port() -> int:
    """A free one, in the place of the page's."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(home: Path) -> dict[str, str]:
    programs = Path(sys.executable).parent
    return {"HOME": str(home), "PATH": f"{programs}:{os.environ['PATH']}", "LANG": "C.UTF-8"}


def script(commands: list[str]) -> str:
    """The lines as one shell runs them: each told before, and the end at the first failure."""
    told = [f"echo '{MARK}{number}'\n{line}" for number, line in enumerate(commands)]
    return "set -em\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n" + "\n".join(told)


def outputs(text: str) -> list[list[str]]:
    """What each of the commands of a console block shows on the page."""
    parts = re.split(r"^\$ .*\n", text, flags=re.MULTILINE)[1:]
    return [part.splitlines() for part in parts]


def label(line: str) -> str:
    """What stays the same from run to run: the words before the value."""
    return re.split(r"  |: ", line)[0] if "  " in line else line


@pytest.mark.slow
def test_getting_started_works_as_it_is_written(tmp_path: Path, port: int) -> None:
    pages = [each.text for each in blocks(START) if each.kind == "console"]
    commands = [line for text in pages for line in typed(text)]
    shown = [lines for text in pages for lines in outputs(text)]
    first = next(n for n, line in enumerate(commands) if "replica start" in line)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    moved = [
        line.replace(":4943", f":{port}").replace("--port 4943", f"--port {port}")
        for line in commands[first:]
    ]

    done = subprocess.run(
        ["bash", "-c", script(moved)],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    told = re.split(rf"^{MARK}\d+\n", done.stdout, flags=re.MULTILINE)[1:]
    assert len(told) == len(moved)
    for command, page, printed in zip(moved, shown[first:], told, strict=True):
        real = [label(line) for line in printed.splitlines()]
        assert not page or [label(line) for line in page] == real, command
    dumps = [text for line, text in zip(moved, told, strict=True) if line.endswith(" dump")]
    assert dumps == ["", "Hi there!\nIs anybody backing this up?\n"]


def test_what_it_installs_is_there() -> None:
    """The first three lines make a virtual environment, which every test run has already."""
    commands = [
        line for each in blocks(START) if each.kind == "console" for line in typed(each.text)
    ]
    first = next(n for n, line in enumerate(commands) if "replica start" in line)
    folder = re.search(r"-m venv (\S+)", commands[0])

    assert folder is not None
    assert first == 3
    assert commands[1] == f"{folder[1]}/bin/pip install '.[replica]'"
    assert commands[2] == f"source {folder[1]}/bin/activate"
    assert re.search(r"^replica = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)


def test_the_program_of_the_python_api_runs(server: ReplicaServer, tmp_path: Path) -> None:
    controllers = [identity("alice").principal.raw]
    raw = server.replica.create_canister(controllers=controllers, cycles=10**14)
    server.replica.install(raw, note_wasm())
    server.replica.ingress(b"\x04", raw, "set", b"kept", request_id=b"1" * 32)
    (tmp_path / "key.pem").write_bytes(pem("alice"))
    program = tmp_path / "program.py"
    program.write_text(block(API, "python", "def main"))

    argv = [server.url, Principal(raw).to_text(), str(tmp_path / "key.pem"), str(tmp_path)]
    done = subprocess.run(
        [sys.executable, str(program), *argv],
        env={**environment(tmp_path), "PASSWORD": "long enough"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )

    assert done.returncode == 0, done.stderr
    assert re.match(r"backup [0-9a-f]{32}: consistent\nloses: .+\nrestored; ", done.stdout)
    assert server.replica.query(b"\x04", raw, "get", b"") == b"kept"
    assert done.stderr == ""


def test_the_modules_of_the_python_api_exist() -> None:
    rows = re.findall(r"^\| (`.+?`) \|", API.read_text(), re.MULTILINE)
    named = {name for row in rows[1:] for name in re.findall(r"`(\w+)`", row)}
    folder = ROOT / "dfx_backup" / "operations"

    assert named
    assert [name for name in sorted(named) if not (folder / f"{name}.py").exists()] == []
