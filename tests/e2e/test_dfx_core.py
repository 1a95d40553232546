"""dfx's own code reads manifests and command lines, and the stand-in agrees with it."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.dfx.judge import DfxCore, is_same, outcomes_in_oldest
from tests.fakes.dfx.lines import option_lines
from tests.fakes.dfx.manifest import ManifestError, parse
from tests.fakes.dfx.rows import MANIFESTS, ROWS, outcome
from tests.fakes.tree import leaves

pytestmark = pytest.mark.judge


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
@pytest.mark.parametrize("seed", [1, pytest.param(range(2, 7), marks=pytest.mark.slow)], ids=str)
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


# -- the program's own lines -----------------------------------------------------------------------


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
