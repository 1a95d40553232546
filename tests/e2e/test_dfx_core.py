"""dfx's own code installs, lists, loads, parses and runs the extension; the stand-in agrees."""

import json
import random
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.release import layout, serve
from tests.fakes.dfx.judge import DfxCore, is_same, outcomes_in_oldest
from tests.fakes.dfx.lines import option_lines
from tests.fakes.dfx.manifest import ManifestError, highest_version, parse
from tests.fakes.dfx.rows import MANIFESTS, ROWS, outcome
from tests.fakes.tree import leaves

pytestmark = pytest.mark.judge

PROGRAM = f"#!{sys.executable}\nfrom dfx_backup.__main__ import run\nrun()\n"
MACHINE = layout.this_machine()


@pytest.fixture
def core(tmp_path: Path) -> DfxCore:
    return DfxCore(tmp_path / "home")


# -- parsing --------------------------------------------------------------------------------------

Clap = Callable[[str, list[list[str]]], list[str | tuple[str, ...]]]


@pytest.fixture(params=["0.32.0", "0.23.0"])
def clap(request: pytest.FixtureRequest, core: DfxCore) -> Clap:
    """What clap makes of lines: that of the newest dfx, and that of the oldest supported one."""
    oldest = request.param == "0.23.0"

    def outcomes(name: str, lines: list[list[str]]) -> list[str | tuple[str, ...]]:
        path = core.put_manifest(MANIFESTS[name])
        return outcomes_in_oldest(path, lines) if oldest else core.outcomes(lines)

    return outcomes


@pytest.mark.parametrize("name", MANIFESTS)
def test_clap_does_with_every_row_what_the_row_says(clap: Clap, name: str) -> None:
    rows = [row for row in ROWS if row.manifest == name]
    wrong = [
        (row.line, row.outcome, told)
        for row, told in zip(rows, clap(name, [row.argv for row in rows]), strict=True)
        if not is_same(told, row.outcome)
    ]
    assert rows
    assert wrong == []


WORDS = (
    *("backup", "create", "snapshot", "list", "help", "extension", "run", "nope", "x", "al", ""),
    *("-", "--", "-v", "-q", "-vq", "-h", "-hv", "-vx", "-x", "-x5", "-5", "-p", "-pa", "-p=a"),
    *("--help", "--help=1", "--verbose", "--verbose=3", "--identity", "--identity=a", "--version"),
    *("--log", "--log=file", "tee", "weird", "--logfile", "--net", "--net=", "--net=a", "--tag"),
    *("--tag=a", "--some", "--pair", "--word", "--bogus", "--bogus=1", "-V", "--=x"),
)
LINES = 250


@pytest.mark.parametrize("name", MANIFESTS)
@pytest.mark.parametrize("seed", [1, pytest.param(range(2, 12), marks=pytest.mark.slow)], ids=str)
def test_the_stand_in_does_with_any_line_what_clap_does(
    clap: Clap, name: str, seed: int | range
) -> None:
    seeds = [seed] if isinstance(seed, int) else list(seed)
    chosen = random.Random(f"{name} {seeds}")
    lines = [line(chosen) for _ in range(LINES * len(seeds))]
    wrong = [
        (words, mine, told)
        for words, told in zip(lines, clap(name, lines), strict=True)
        for mine in [outcome(name, words)]
        if not is_same(told, mine)
    ]
    assert wrong == []


def line(chosen: random.Random) -> list[str]:
    """A line that often, but not always, reaches a command of the extension."""

    def some(most: int) -> list[str]:
        return [chosen.choice(WORDS) for _ in range(chosen.randrange(most))]

    words = some(3) if chosen.random() < 0.2 else []
    words += ["backup"] if chosen.random() < 0.9 else ["extension", "run", "backup"]
    words += some(2) if chosen.random() < 0.3 else []
    words += ["create"] if chosen.random() < 0.8 else []
    return words + some(6)


# -- manifests ------------------------------------------------------------------------------------

ARGUMENTS = (
    {"about": "x", "required": True},
    {"about": "x", "short": "xy"},
    {"about": "x", "short": 1},
    {"about": "x", "long": 1},
    {"about": "x", "multiple": "yes"},
    {"about": "x", "values": "1..=3"},
    {"about": "x", "values": "many"},
    {"about": "x", "values": -1},
    {"about": "x", "values": 1.5},
    {"about": "x", "values": None},
    {"about": "x", "values": "1..3"},
    {"about": 1},
    {"about": None},
    {},
)
FIELDS = (
    {},
    {"license": "x"},
    {"summary": None},
    {"summary": 1},
    {"categories": None},
    {"categories": "x"},
    {"categories": [1]},
    {"keywords": "x"},
    {"keywords": None},
    {"description": True},
    {"version": "1.0"},
    {"version": "1"},
    {"version": ""},
    {"version": "1.0.0-beta.1+x"},
    {"subcommands": None},
    {"subcommands": {}},
    {"subcommands": []},
    {"subcommands": {"create": None}},
    {"subcommands": {"create": {"aliases": []}}},
    {"subcommands": {"create": {"about": []}}},
    {"subcommands": {"create": {"args": None, "subcommands": None, "about": None}}},
    {"subcommands": {"create": {"subcommands": {"now": {"nope": 1}}}}},
    {"download_url_template": "x"},
    *({"subcommands": {"create": {"args": {"args": each}}}} for each in ARGUMENTS),
)


@pytest.mark.parametrize("fields", FIELDS, ids=json.dumps)
def test_a_manifest_is_read_or_refused_in_the_same_words(
    core: DfxCore, fields: dict[str, object]
) -> None:
    minimum = json.loads(MANIFESTS["nothing"])
    compare(core, json.dumps(minimum | fields))


@pytest.mark.parametrize("name", sorted(json.loads(MANIFESTS["nothing"])))
def test_a_manifest_without_a_field(core: DfxCore, name: str) -> None:
    minimum = json.loads(MANIFESTS["nothing"])
    del minimum[name]
    compare(core, json.dumps(minimum))


@pytest.mark.parametrize("text", ["", "{", '{"name": "x"', "null", '"x"'])
def test_what_is_no_manifest_at_all(core: DfxCore, text: str) -> None:
    compare(core, text)


def refusal(text: str) -> str | None:
    """What the stand-in has against a manifest."""
    try:
        parse(text)
    except ManifestError as err:
        return str(err)
    return None


def compare(core: DfxCore, text: str) -> None:
    path = core.put_manifest(text)
    done = core.run("extension", "list")
    why = refusal(text)
    if why is not None:
        assert done.returncode == 255
        assert done.stderr.startswith(
            "Error: Failed to load extension manifest\n"
            f"Caused by: failed to parse contents of {path} as json\n"
            f"Caused by: {why}"
        )
        return
    commands = parse(text).subcommands.values()
    mute = [
        word for command in commands for word, each in command.args.items() if each.about is None
    ]
    assert done.returncode == (255 if mute else 0), done.stderr
    if mute:
        assert f"argument '{mute[0]}' is missing description" in done.stderr


# -- installing, listing, running -----------------------------------------------------------------


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> layout.Release:
    """A release for this machine whose program is the one that is tested."""
    tmp_path = tmp_path_factory.mktemp("served")
    made = layout.release(tmp_path / "release")
    made.assets.mkdir(parents=True)
    inside = tmp_path / "inside"
    inside.mkdir()
    for name in layout.MANIFESTS:
        text = (layout.ROOT / name).read_text(encoding="utf-8")
        (made.folder / name).write_text(text, encoding="utf-8")
    (inside / "extension.json").write_text(MANIFESTS["ours"])
    (inside / "backup").write_text(PROGRAM)
    with tarfile.open(made.archive(MACHINE), "w:gz") as archive:
        archive.add(inside, f"backup-{MACHINE}")
    return made


@pytest.fixture(scope="module")
def address(release: layout.Release) -> Iterator[str]:
    with serve.server(release.folder, 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://localhost:{server.server_address[1]}/extension.json"
        server.shutdown()
        thread.join()


def test_it_is_installed_from_a_release_listed_and_run(
    core: DfxCore, address: str, tmp_path: Path
) -> None:
    done = core.run("extension", "install", address)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "Extension 'backup' version 0.1.0 installed successfully\n"
    assert ((core.extensions / "backup" / "backup").stat().st_mode & 0o777) == 0o500
    listed = core.run("extension", "list")
    assert (listed.returncode, listed.stdout) == (0, "backup\n")
    help_text = core.run("backup", "--help")
    assert "Take, list, load, delete, download and upload canister snapshots." in help_text.stdout
    ours = core.run("backup", "snapshot", "create", "--help", cwd=tmp_path)
    assert ours.returncode == 0, ours.stderr
    assert ours.stdout.startswith("Usage: dfx backup snapshot create [OPTIONS] {CANISTER}\n")
    refused = core.run("backup", "show", "--json", cwd=tmp_path)
    assert refused.returncode == 255
    assert json.loads(refused.stdout)["exit_code"] == 2
    assert refused.stderr == "Error: Extension exited with non-zero status code '2'.\n"
    again = core.run("extension", "install", address)
    assert again.returncode == 0
    assert again.stderr == "WARNING: Extension 'backup' version 0.1.0 is already installed\n"
    gone = core.run("extension", "uninstall", "backup")
    assert (gone.returncode, gone.stderr) == (0, "")
    assert core.run("extension", "list").stderr == "No extensions installed.\n"


def test_it_is_installed_under_another_name(core: DfxCore, address: str, tmp_path: Path) -> None:
    done = core.run("extension", "install", address, "--install-as", "vault")
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith("installed successfully, and is available as 'vault'\n")
    ours = core.run("vault", "create", "--help", cwd=tmp_path)
    assert ours.returncode == 0, ours.stderr
    assert "Stop canisters, take snapshots" in ours.stdout


VERSIONS = ("0.22.0", "0.23.0-beta.3", "0.23.0", "0.25.0", "0.30.1", "0.32.0", "0.33.0-beta.0")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_versions_of_dfx_that_install_it(tmp_path: Path, address: str, version: str) -> None:
    core = DfxCore(tmp_path / "home", version)
    done = core.run("extension", "install", address)
    told = (layout.ROOT / "dependencies.json").read_text(encoding="utf-8")
    if highest_version(told, version) is None:
        assert done.returncode == 255
        assert done.stderr == "Error: No compatible version found.\n"
    else:
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "requirement",
    ["0.23", "^0.23.1", "~0.23.1", "=0.23.1", "=0.23", ">0.23", "<=0.23", "*", ">=0.8, <0.24"],
)
@pytest.mark.parametrize("version", ["0.23.0", "0.23.1", "0.23.9", "0.24.0"])
def test_requirements_are_read_alike(
    release: layout.Release, address: str, tmp_path: Path, requirement: str, version: str
) -> None:
    text = json.dumps({release.version: {"dfx": {"version": requirement}}})
    file = release.folder / "dependencies.json"
    former = file.read_text()
    file.write_text(text)
    done = DfxCore(tmp_path / "home", version).run("extension", "install", address)
    file.write_text(former)
    assert (done.returncode == 0) is (highest_version(text, version) is not None), done.stderr


def test_every_command_reaches_the_program_as_it_was_typed(clap: Clap) -> None:
    lines = [
        ["backup", *words, *rest]
        for words in leaves()
        for rest in (["--help"], ["-h"], ["--json", "x"], ["x", "--", "-y"], ["--a=b", "--a", "-c"])
    ]
    assert clap("ours", lines) == [tuple(words[1:]) for words in lines]


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_every_option_gets_through_in_every_way_to_write_it(core: DfxCore, step: int) -> None:
    core.put_manifest(MANIFESTS["ours"])
    lines = list(option_lines())[::step]
    told = core.outcomes(lines)
    assert [line for line, each in zip(lines, told, strict=True) if each != tuple(line[1:])] == []
