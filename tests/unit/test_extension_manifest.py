"""extension.json and dependencies.json: what the generator writes, and what every dfx can read."""

import json

import pytest

from scripts import gen_extension
from tests.fakes.dfx.manifest import Manifest, ManifestError, highest_version, parse
from tests.fakes.tree import commands, leaves

COMMITTED = (gen_extension.ROOT / "extension.json").read_text(encoding="utf-8")
VERSIONS = (gen_extension.ROOT / "dependencies.json").read_text(encoding="utf-8")


def test_the_committed_files_are_the_generated_ones() -> None:
    told = {"extension.json": COMMITTED, "dependencies.json": VERSIONS}
    assert told == gen_extension.texts(), "run scripts/gen_extension.py when this is meant"


def test_dfx_reads_the_manifest() -> None:
    manifest = parse(COMMITTED)
    assert manifest.name == "backup"
    assert manifest.version == gen_extension.__version__
    assert manifest.subcommands


def test_the_manifest_has_only_fields_that_the_oldest_supported_dfx_knows() -> None:
    known = {"name", "version", "homepage", "summary", "categories", "keywords", "subcommands"}
    assert set(json.loads(COMMITTED)) <= known


def test_every_command_is_in_the_manifest_and_takes_everything() -> None:
    manifest = parse(COMMITTED)
    for words, command in commands():
        if not words:
            continue
        here = manifest.find(words)
        assert here is not None, words
        assert here.about == (command.help or "").strip().splitlines()[0]
        assert set(here.args) == ({"args", "help"} if words in leaves() else set()), words
    assert set(manifest.leaves()) == set(leaves())


def test_a_served_manifest_tells_where_archives_are() -> None:
    template = "http://localhost:1/{{tag}}/{{basename}}.{{archive-format}}"
    fields = gen_extension.manifest(homepage="x", download_url_template=template)
    assert parse(json.dumps(fields)) == Manifest.named(parse(json.dumps(fields)), "backup")
    assert fields["homepage"] == "x"
    assert json.loads(COMMITTED).get("download_url_template") is None


MINIMUM = {
    "name": "backup",
    "version": "0.1.0",
    "homepage": "",
    "summary": "",
    "categories": [],
}


def arg(**fields: object) -> dict[str, object]:
    return {"subcommands": {"create": {"args": {"args": fields}}}}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"license": "x"}, "unknown field `license`, expected one of `name`, `version`, "),
        ({"summary": None}, "invalid type: null, expected a string"),
        ({"categories": None}, "invalid type: null, expected a sequence"),
        ({"keywords": "x"}, 'invalid type: string "x", expected a sequence'),
        ({"version": "1.0"}, "unexpected end of input while parsing minor version number"),
        (
            {"subcommands": {"create": {"aliases": []}}},
            "unknown field `aliases`, expected one of `about`, `args`, `subcommands`",
        ),
        (
            arg(about="x", required=True),
            "unknown field `required`, expected one of `about`, `long`, `short`, ",
        ),
        (arg(about="x", short="xy"), 'invalid value: string "xy", expected a character'),
        (arg(about="x", values="1..=3"), "Inclusive ranges are not supported: 1..=3"),
        (arg(about="x", values="many"), "Invalid format for values: 'many'. Expected 'unlimited'"),
        (
            arg(about="x", values=-1),
            "data did not match any variant of untagged enum StrOrUsize",
        ),
    ],
)
def test_what_dfx_does_not_read(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse(json.dumps(MINIMUM | fields))
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("name", sorted(MINIMUM))
def test_what_dfx_misses(name: str) -> None:
    text = json.dumps({key: value for key, value in MINIMUM.items() if key != name})
    with pytest.raises(ManifestError) as caught:
        parse(text)
    assert str(caught.value).startswith(f"missing field `{name}`")


@pytest.mark.parametrize(
    ("values", "least", "most"),
    [(0, 0, 0), (1, 1, 1), (3, 3, 3), ("unlimited", 0, None), ("1..3", 1, 3), (None, 1, 1)],
)
def test_how_many_values(values: object, least: int, most: int | None) -> None:
    fields = {} if values is None else {"values": values}
    found = parse(json.dumps(MINIMUM | arg(about="x", **fields))).find(("create",))
    assert found is not None
    assert (found.args["args"].least, found.args["args"].most) == (least, most)


# -- versions of dfx ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dfx", "found"),
    [
        ("0.22.0", None),
        ("0.23.0", "0.1.0"),
        ("0.23.0-beta.3", "0.1.0"),  # as the release: dfx leaves that out
        ("0.25.0", "0.1.0"),
        ("0.32.0", "0.1.0"),
        ("0.33.0+build", "0.1.0"),
        ("1.0.0", "0.1.0"),
    ],
)
def test_which_dfx_takes_which_version(dfx: str, found: str | None) -> None:
    assert highest_version(VERSIONS, dfx) == found


SEVERAL = {
    "0.3.4": {"dfx": {"version": ">=0.8, <0.9"}},
    "0.6.2": {"dfx": {"version": ">=0.9.6"}},
    "0.10.0": {"dfx": {"version": ">=0.9.9"}},
    "0.11.0": {},
}


@pytest.mark.parametrize(
    ("dfx", "found"),
    [
        ("0.7.0", None),
        ("0.8.5", "0.3.4"),
        ("0.9.0", None),
        ("0.9.6", "0.6.2"),
        ("0.9.10", "0.10.0"),  # numbers are compared as numbers; what names no dfx never fits
    ],
)
def test_the_highest_version_that_fits_is_taken(dfx: str, found: str | None) -> None:
    assert highest_version(json.dumps(SEVERAL), dfx) == found


def test_dfx_is_the_only_dependency_there_is() -> None:
    text = json.dumps({"0.1.0": {"icp": {"version": ">=1"}}})
    with pytest.raises(ManifestError, match="'dfx' is the only supported dependency"):
        highest_version(text, "0.32.0")


@pytest.mark.parametrize(
    ("requirement", "dfx", "fits"),
    [
        ("0.23", "0.23.5", True),
        ("0.23", "0.24.0", False),
        ("^1.2", "1.9.0", True),
        ("~0.23.1", "0.23.9", True),
        ("~0.23.1", "0.24.0", False),
        ("=0.23.1", "0.23.1", True),
        ("=0.23", "0.23.7", True),
        (">0.23", "0.23.9", False),
        (">0.23", "0.24.0", True),
        ("<=0.23", "0.23.9", True),
        ("<=0.23", "0.24.0", False),
        ("*", "0.1.0", True),
    ],
)
def test_requirements_are_cargos(requirement: str, dfx: str, *, fits: bool) -> None:
    text = json.dumps({"0.1.0": {"dfx": {"version": requirement}}})
    assert (highest_version(text, dfx) == "0.1.0") is fits
