"""The archive that dfx unpacks: what is in it, and that it needs nothing else on the machine."""

import json
import os
import shutil
import signal
import subprocess
import tarfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dfx_backup import __version__
from scripts.build_release import GLIBC, SIZE_BAR
from scripts.release import glibc, layout
from tests.e2e.conftest import skip
from tests.fakes.moto_s3 import moto_s3

pytestmark = pytest.mark.slow

NOTHING = {"PATH": "/nowhere"}
"""An environment in which no Python can be found."""


def run(
    program: Path, *argv: str, cwd: Path | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(program), *argv],
        env=NOTHING | env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def ending(process: "subprocess.Popen[str]") -> Iterator[None]:
    """Let no process outlive a test that fails."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()


@pytest.fixture(scope="module")
def program(unpacked: Path) -> Path:
    return unpacked / "backup"


@pytest.mark.parametrize("machine", layout.PLATFORMS)
def test_dfx_finds_in_every_archive_what_it_looks_for(
    release: layout.Release, machine: str
) -> None:
    with tarfile.open(release.archive(machine)) as tar:
        members = {each.name: each for each in tar.getmembers()}
        first = next(iter(members))
        manifest = tar.extractfile(f"{first}/extension.json")
        assert manifest is not None
        assert manifest.read() == (layout.ROOT / "extension.json").read_bytes()
    assert {name.partition("/")[0] for name in members} == {first}
    assert members[first].isdir()
    assert members[f"{first}/backup"].mode == 0o755
    assert all(each.isfile() or each.isdir() for each in members.values())
    assert all(each.mode in {0o755, 0o644} for each in members.values())
    assert {(each.uid, each.gid) for each in members.values()} == {(0, 0)}


def test_every_file_has_its_checksum(release: layout.Release) -> None:
    files = [each for each in release.assets.iterdir() if each.suffix != ".sha256"]
    assert len(files) == len(layout.PLATFORMS) + 2
    for each in files:
        check = ["sha256sum", "--check", "--status", f"{each.name}.sha256"]
        assert subprocess.run(check, cwd=release.assets, check=False).returncode == 0, each


def test_it_is_no_larger_and_needs_no_newer_glibc_than_it_says(
    release: layout.Release, unpacked: Path
) -> None:
    assert release.archive(layout.this_machine()).stat().st_size <= SIZE_BAR
    told = f"glibc {GLIBC[0]}.{GLIBC[1]}"
    assert told in (layout.ROOT / "README.md").read_text(encoding="utf-8")
    needed = glibc.needed(unpacked)
    assert needed > (0, 0)
    if needed > GLIBC:
        skip(f"the libraries of the Python that built it need glibc {needed}")


def test_it_starts_without_python(program: Path) -> None:
    done = run(program, "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == f"dfx-backup {__version__}"


def test_every_command_shows_its_help(program: Path) -> None:
    """Commands are loaded by name: one that was left out would only be missed when it is used."""
    manifest = json.loads((program.parent / "extension.json").read_text())
    leaves = [
        (name, *below)
        for name, each in manifest["subcommands"].items()
        for below in ([(word,) for word in each.get("subcommands", {})] or [()])
    ]
    assert len(leaves) > 20
    for words in leaves:
        done = run(program, *words, "--help")
        assert (done.returncode, done.stderr) == (0, ""), words
        assert done.stdout.startswith(f"Usage: dfx-backup {' '.join(words)} "), words


def test_the_kit_is_in_it(program: Path, tmp_path: Path) -> None:
    kit = layout.ROOT / "dfx_backup" / "kit"
    for language, source in (("rust", "src/lib.rs"), ("motoko", "Backup.mo")):
        done = run(program, "kit", language, "--dir", str(tmp_path / language))
        assert done.returncode == 0, done.stderr
        written = (tmp_path / language / source).read_bytes()
        assert written == (kit / language / source).read_bytes()


def test_the_doctor_runs_in_it(program: Path, tmp_path: Path) -> None:
    done = run(program, "doctor", "--json", HOME=str(tmp_path))
    told = json.loads(done.stdout)
    assert told["command"] == "doctor"
    assert told["exit_code"] == done.returncode != 1
    assert told["data"]["findings"]


def test_both_kinds_of_repositories_are_in_it(program: Path, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "password").chmod(0o600)
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1"}
    with moto_s3("bucket") as server:
        for url in ("folder", f"s3:{server}/bucket"):
            for words in (("init",), ("list", "--json")):
                line = (*words, "--repo", url, "--password-file", "password")
                done = run(program, *line, cwd=tmp_path, HOME=str(tmp_path), **keys)
                assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["data"]["backups"] == []


def test_the_keyring_is_in_it(program: Path, tmp_path: Path) -> None:
    """With nobody who keeps one, and with one that is empty: both come from the library."""
    identity = tmp_path / ".config" / "dfx" / "identity" / "alice"
    identity.mkdir(parents=True)
    told = {"hsm": None, "encryption": None, "keyring_identity_suffix": "alice"}
    (identity / "identity.json").write_text(json.dumps(told))
    words = ("snapshot", "list", "rwlgt-iiaaa-aaaaa-aaaaa-cai", "--identity", "alice")
    line = (*words, "--network", "http://127.0.0.1:9", "--driver", "agent")
    nobody = run(program, *line, HOME=str(tmp_path))
    assert "the system's keyring can't be read (NoKeyringError)" in nobody.stderr
    null = {"PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}
    empty = run(program, *line, HOME=str(tmp_path), **null)
    assert "the keyring has no entry" in empty.stderr


def test_the_replica_starts_in_it_as_it_does_with_python(program: Path, tmp_path: Path) -> None:
    argv = [str(program), "-m", "dfx_backup.replica", "start", "--port", "0", "--control"]
    argv += ["--state-dir", str(tmp_path)]
    with (
        subprocess.Popen(argv, env=NOTHING, stdout=subprocess.PIPE, text=True) as replica,
        ending(replica),
    ):
        assert replica.stdout is not None
        told = json.loads(replica.stdout.readline())
        assert told["pid"] == replica.pid
        with urllib.request.urlopen(f"{told['url']}/api/v2/status", timeout=30) as answer:
            assert b"root_key" in answer.read()
        wasm = layout.ROOT / "examples" / "chat" / "chat.wasm"
        deployed = run(
            program, "-m", "dfx_backup.replica", "deploy", str(wasm), "--state-dir", str(tmp_path)
        )
        assert deployed.returncode == 0, deployed.stderr
        assert json.loads(deployed.stdout)["canister_id"]
        replica.send_signal(signal.SIGTERM)
        assert replica.wait(timeout=30) == 0


def test_programs_that_it_starts_get_no_libraries_of_it(program: Path, tmp_path: Path) -> None:
    """The loader names its own folder in LD_LIBRARY_PATH, which would break dfx and others."""
    seen = tmp_path / "seen"
    script = tmp_path / "tell"
    script.write_text(f"#!/bin/sh\n/usr/bin/env > '{seen}'\necho secret\n")
    script.chmod(0o755)
    words = ("init", "--repo", "r", "--password-command", str(script))
    done = run(program, *words, cwd=tmp_path, LD_LIBRARY_PATH="/theirs", HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "_internal" not in seen.read_text()
    assert "_PYI_" not in seen.read_text()


def test_it_runs_under_another_name_in_another_place(unpacked: Path, tmp_path: Path) -> None:
    """`dfx extension install --install-as bk` renames the program."""
    shutil.copytree(unpacked, tmp_path / "bk")
    os.rename(tmp_path / "bk" / "backup", tmp_path / "bk" / "bk")  # noqa: PTH104 - as dfx does
    done = run(tmp_path / "bk" / "bk", "list", "--help")
    assert (done.returncode, done.stderr) == (0, "")


def test_text_beyond_ascii_is_printed_without_a_locale(program: Path, tmp_path: Path) -> None:
    done = run(program, "show", "naïve—名", "--repo", str(tmp_path / "naïve"), HOME=str(tmp_path))
    assert done.returncode == 10
    assert "naïve" in done.stderr
