"""The script in archives for machines for which no program is built: it runs pipx's."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.release.layout import ROOT
from tests.fakes.dfx.install import FakeDfx

SHIM = ROOT / "scripts" / "release" / "shim.sh"
PROGRAM = f"""#!{sys.executable}
import json, os, sys
print(json.dumps([sys.argv, os.getpid(), os.getppid(), os.environ["PWD"]]))
sys.exit(60)
"""


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def run(folder: Path, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
    variables = {"PATH": f"{folder / 'bin'}:/usr/bin:/bin", "HOME": str(folder)} | env
    return subprocess.run(
        [str(SHIM), *argv], env=variables, cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("place", ["bin/dfx-backup", ".local/bin/dfx-backup"])
def test_it_becomes_the_program(tmp_path: Path, place: str) -> None:
    put(tmp_path / place, PROGRAM)
    words = ("create", "two words", "*", "--dfx-cache-path", "/cache")
    done = run(tmp_path, *words)
    assert done.returncode == 60
    argv, _, _, _ = json.loads(done.stdout)
    assert argv[1:] == list(words)


def test_it_leaves_no_process_between_dfx_and_the_program(tmp_path: Path) -> None:
    put(tmp_path / "bin" / "dfx-backup", PROGRAM)
    with subprocess.Popen(
        [str(SHIM)], env={"PATH": f"{tmp_path / 'bin'}:/bin"}, stdout=subprocess.PIPE, text=True
    ) as started:
        told, _ = started.communicate(timeout=60)
    assert json.loads(told)[1] == started.pid


def test_on_macos_it_tells_where_the_user_stands(tmp_path: Path) -> None:
    """There is no /proc there, and the shell overwrites PWD by the folder that dfx moved to."""
    put(tmp_path / "bin" / "dfx-backup", PROGRAM)
    put(tmp_path / "bin" / "uname", "#!/bin/sh\necho Darwin\n")
    put(
        tmp_path / "bin" / "lsof",
        "#!/bin/sh\nprintf 'p%s\\nfcwd\\nn/where the/user is\\n' \"$3\"\n",
    )
    done = run(tmp_path, "list", PWD="/somewhere")
    assert json.loads(done.stdout)[3] == "/where the/user is"


def test_without_the_program_it_says_what_to_do(tmp_path: Path) -> None:
    done = run(tmp_path, "list")
    assert done.returncode == 40
    assert done.stdout == ""
    error, hint = done.stderr.splitlines()
    assert error == "Error: This extension runs the program dfx-backup, which is not installed."
    assert hint.startswith("Hint: Install it with `pipx install dfx-backup` (Python 3.11 or later)")


def test_without_the_program_the_envelope_says_it(tmp_path: Path) -> None:
    done = run(tmp_path, "list", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["exit_code"], told["status"]) == (40, 40, "error")
    assert told["errors"][0]["code"] == "tool"
    assert "pipx install dfx-backup" in told["errors"][0]["hint"]
    assert set(told) == {"output_version", "command", "status", "exit_code", "data", "errors"}


def test_dfx_runs_the_real_program_through_it(tmp_path: Path) -> None:
    dfx = FakeDfx.install(tmp_path)
    folder = dfx.add_extension("backup", SHIM.read_text()).parent
    (folder / "extension.json").write_text((ROOT / "extension.json").read_text())
    module = "from dfx_backup.__main__ import run\nrun()\n"
    put(tmp_path / "bin" / "dfx-backup", f"#!{sys.executable}\n{module}")
    below = tmp_path / "project" / "src"
    below.mkdir(parents=True)
    (tmp_path / "project" / "dfx.json").write_text("{}")
    done = dfx.run("backup", "kit", "motoko", "--dir", "kit", cwd=below)
    assert done.returncode == 0, done.stderr
    assert (below / "kit" / "Backup.mo").is_file()
