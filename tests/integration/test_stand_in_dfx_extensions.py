"""The stand-in treats extensions as dfx does: what it parses, passes on, loads and runs."""

import json
from pathlib import Path

import pytest

from tests.fakes.dfx.extension import Run, route
from tests.fakes.dfx.install import FakeDfx
from tests.fakes.dfx.manifest import parse
from tests.fakes.dfx.rows import MANIFESTS, ROWS, Row, outcome

TELL = """#!/bin/sh
pwd -P
for word in "$@"; do echo "$word"; done
exit ${CODE:-0}
"""


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.manifest}: {row.line}")
def test_a_line_is_parsed_as_dfx_parses_it(row: Row) -> None:
    told = outcome(row.manifest, row.argv)
    if isinstance(row.outcome, tuple):
        assert told == row.outcome
    else:
        assert isinstance(told, str)
        assert told.startswith(row.outcome)


@pytest.mark.parametrize(
    ("line", "identity"),
    [
        ("backup create", None),
        ("--identity al backup create", "al"),
        ("--identity a backup --identity b create", "b"),
        ("backup create --identity al", None),  # passed on, so that it is the extension's
    ],
)
def test_what_dfx_keeps_for_itself(line: str, identity: str | None) -> None:
    found = route({"backup": parse(MANIFESTS["ours"]).named("backup")}, line.split())
    assert isinstance(found, Run)
    assert found.identity == identity


@pytest.fixture
def dfx(tmp_path: Path) -> FakeDfx:
    return FakeDfx.install(tmp_path)


def test_builtin_commands_are_as_they_were(dfx: FakeDfx) -> None:
    dfx.add_extension("backup", TELL)
    found = route({"backup": parse(MANIFESTS["ours"])}, ["identity", "whoami"])
    assert found is None
    told = dfx.run("identity", "whoami")
    assert told.stdout == "default\n"
    dfx.check()


def test_help_and_refusals_are_dfx_s_own(dfx: FakeDfx, capsys: pytest.CaptureFixture[str]) -> None:
    dfx.add_extension("backup", TELL)
    assert dfx.run_inside("backup", "--help") == 0
    told = capsys.readouterr()
    assert "Take, list, load, delete, download and upload canister snapshots." in told.out
    assert told.err == ""
    assert dfx.run_inside("backup", "nope") == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: unrecognized subcommand 'nope'\n")
    assert "For more information, try '--help'." in told.err
    assert [note["argv"] for note in dfx.refused()] == [["backup", "nope"]]


def test_without_the_extension_its_name_is_unknown(
    dfx: FakeDfx, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dfx.run_inside("backup", "create") == 2
    assert "unrecognized subcommand 'backup'" in capsys.readouterr().err
    dfx.refused()
    assert dfx.run_inside("extension", "run", "backup", "create") == 255
    assert capsys.readouterr().err == "Error: Extension 'backup' not installed.\n"


# -- running --------------------------------------------------------------------------------------


def test_it_runs_in_the_project_with_the_cache_as_its_last_words(
    dfx: FakeDfx, tmp_path: Path
) -> None:
    dfx.add_extension("backup", TELL)
    root = tmp_path / "project"
    (root / "src").mkdir(parents=True)
    (root / "dfx.json").write_text("{}")
    told = dfx.run("--identity", "al", "backup", "create", "x", "--", "-y", cwd=root / "src")
    assert told.returncode == 0, told.stderr
    cwd, *words = told.stdout.splitlines()
    assert cwd == str(root.resolve())  # not where the user is
    assert words == ["create", "x", "--", "-y", "--dfx-cache-path", str(dfx.cache)]
    assert told.stderr == ""  # no notice for extensions
    dfx.check()


def test_without_a_project_it_runs_where_the_user_is(dfx: FakeDfx, tmp_path: Path) -> None:
    dfx.add_extension("backup", TELL)
    told = dfx.run("extension", "run", "backup", "-v", "list", "--help", cwd=tmp_path)
    cwd, *words = told.stdout.splitlines()
    assert cwd == str(tmp_path.resolve())
    assert words == ["list", "--help", "--dfx-cache-path", str(dfx.cache)]


def test_an_invalid_project_stops_it_before_it_starts(dfx: FakeDfx, tmp_path: Path) -> None:
    dfx.add_extension("backup", TELL)
    (tmp_path / "dfx.json").write_text("{")
    told = dfx.run("backup", "list", cwd=tmp_path)
    assert (told.returncode, told.stdout) == (255, "")


def test_every_failure_becomes_255(dfx: FakeDfx) -> None:
    dfx.add_extension("backup", TELL)
    told = dfx.run("backup", "create", CODE="60")
    assert told.returncode == 255
    assert told.stderr == "Error: Extension exited with non-zero status code '60'.\n"
    dfx.add_extension("killed", "#!/bin/sh\nkill -9 $$\n")
    assert dfx.run("killed").stderr == "Error: Extension terminated by signal.\n"
    dfx.add_extension("shapeless", "echo\n")
    told = dfx.run("shapeless")
    assert told.stderr == (
        "Error: Failed to run extension 'shapeless'\nCaused by: Exec format error (os error 8)\n"
    )
    (dfx.cache / "extensions" / "killed" / "killed").unlink()
    told = dfx.run("killed")
    assert told.returncode == 255
    binary = dfx.cache / "extensions" / "killed" / "killed"
    assert told.stderr == f"Error: Cannot find extension binary at '{binary}'.\n"
    binary.mkdir()
    told = dfx.run("killed")
    assert told.stderr == f"Error: Extension binary at {binary} is not an executable file.\n"


# -- manifests ------------------------------------------------------------------------------------

BROKEN = {
    "EOF while parsing an object": "{",
    "unknown field `nope`, expected one of `name`, ": json.dumps(
        json.loads(MANIFESTS["ours"]) | {"nope": 1}
    ),
    "missing field `summary`": json.dumps(
        {"name": "backup", "version": "0.1.0", "homepage": "", "categories": []}
    ),
}


@pytest.mark.parametrize("why", BROKEN)
@pytest.mark.parametrize(
    "argv",
    [("identity", "whoami"), ("--version",), ("--help",), ("extension", "uninstall", "backup")],
    ids=" ".join,
)
def test_one_bad_manifest_breaks_every_command(
    dfx: FakeDfx, argv: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    dfx.add_extension("fine", TELL)
    path = dfx.add_extension("backup", TELL, manifest=BROKEN[why]).parent / "extension.json"
    assert dfx.run_inside(*argv) == 255
    assert capsys.readouterr().err.startswith(
        "Error: Failed to load extension manifest\n"
        f"Caused by: failed to parse contents of {path} as json\n"
        f"Caused by: {why}"
    )


def test_a_bad_manifest_breaks_even_the_version(dfx: FakeDfx) -> None:
    path = dfx.add_extension("backup", TELL).parent / "extension.json"
    assert dfx.run("--version").returncode == 0
    path.write_text("{")
    assert dfx.run("--version").returncode == 255


def test_a_folder_without_a_manifest_breaks_every_command(
    dfx: FakeDfx, capsys: pytest.CaptureFixture[str]
) -> None:
    stray = dfx.cache / "extensions" / "stray"
    stray.mkdir(parents=True)
    assert dfx.run_inside("identity", "whoami") == 255
    assert capsys.readouterr().err == (
        "Error: Failed to load extension manifest\n"
        "Caused by: failed to read JSON file\n"
        f"Caused by: failed to read from {stray / 'extension.json'}\n"
        "Caused by: No such file or directory (os error 2)\n"
    )


def test_an_argument_without_a_description_breaks_every_command(
    dfx: FakeDfx, capsys: pytest.CaptureFixture[str]
) -> None:
    told = json.loads(MANIFESTS["all"])
    del told["subcommands"]["create"]["args"]["args"]["about"]
    dfx.add_extension("backup", TELL, manifest=json.dumps(told))
    assert dfx.run_inside("identity", "whoami") == 255
    assert capsys.readouterr().err == (
        "Error: Extension's subcommand argument 'args' is missing description.\n"
    )


def test_links_and_temporary_folders_do_not_count(dfx: FakeDfx, tmp_path: Path) -> None:
    real = dfx.add_extension("backup", TELL).parent
    (real.parent / "linked").symlink_to(real)
    (real.parent / ".tmp123").mkdir()
    (real.parent / "a-file").write_text("")
    told = dfx.run("extension", "list", cwd=tmp_path)
    assert told.stdout == "backup\n"
    assert told.stderr == "Installed extensions:\n  "
    gone = dfx.run("extension", "uninstall", "backup", cwd=tmp_path)
    assert (gone.returncode, gone.stdout, gone.stderr) == (0, "", "")
    (real.parent / "linked").unlink()
    assert dfx.run("extension", "list").stderr == "No extensions installed.\n"
    again = dfx.run("extension", "uninstall", "backup")
    assert again.returncode == 255
    assert again.stderr == (
        f"Error: failed to remove directory {real} and its contents\n"
        "Caused by: No such file or directory (os error 2)\n"
    )
    dfx.check()


def test_the_folder_s_name_counts_and_not_that_in_the_manifest(dfx: FakeDfx) -> None:
    dfx.add_extension("other", TELL)
    told = dfx.run("other", "list")
    assert told.stdout.splitlines()[1] == "list"
