"""Reads extension.json and dependencies.json as dfx does: strictly, with its messages.

A message lacks the line and column at its end; apart from that they are those of serde_json, which
`tests/e2e/test_dfx_core.py` compares.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

_MANIFEST = {
    "name": str,
    "version": "version",
    "homepage": str,
    "authors": "string?",
    "summary": str,
    "categories": "strings",
    "keywords": "strings?",
    "description": "string?",
    "subcommands": "commands?",
    "dependencies": "requirements?",
    "canister_type": "any?",
    "project_templates": "any?",
    "download_url_template": "string?",
}
_COMMAND = ("about", "args", "subcommands")
_ARG = ("about", "long", "short", "multiple", "values")
_REQUIRED = ("name", "version", "homepage", "summary", "categories")


class ManifestError(Exception):
    """What serde_json says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestArg:
    """An argument that a command declares; `most` is None without a limit."""

    about: str | None = None
    long: str | None = None
    short: str | None = None
    least: int = 1
    most: int | None = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestCommand:
    """A command, with what is below it."""

    about: str | None = None
    args: dict[str, ManifestArg] = field(default_factory=dict)
    subcommands: dict[str, "ManifestCommand"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """An extension.json; names in the order in which dfx keeps them, the alphabet's."""

    name: str
    version: str
    summary: str
    subcommands: dict[str, ManifestCommand]
    download_url_template: str | None = None

    def named(self, name: str) -> "Manifest":
        """As dfx loads it: the folder's name counts, not that in the file."""
        return replace(self, name=name)

    def find(self, words: tuple[str, ...]) -> ManifestCommand | None:
        """The command of these words."""
        below, here = self.subcommands, None
        for word in words:
            here = below.get(word)
            below = here.subcommands if here else {}
        return here

    def leaves(self) -> Iterator[tuple[str, ...]]:
        """The words of every command with nothing below it."""
        queue = [((name,), each) for name, each in self.subcommands.items()]
        while queue:
            words, command = queue.pop(0)
            if not command.subcommands:
                yield words
            queue += [((*words, name), each) for name, each in command.subcommands.items()]


class FilesError(Exception):
    """One of the files can't be read; `links` is dfx's chain of reasons, outermost first."""

    def __init__(self, *links: str) -> None:
        super().__init__(links[-1])
        self.links = ("Failed to load extension manifest", *links)


def installed(folder: Path) -> dict[str, Manifest]:
    """The manifests of every extension in dfx's folder of them; links and `.tmp…` do not count.

    Raises:
        FilesError: one of them is missing or wrong.
    """
    found = {}
    for each in sorted(folder.iterdir()) if folder.exists() else []:
        if each.is_symlink() or not each.is_dir() or each.name.startswith(".tmp"):
            continue
        found[each.name] = load(each)
    return found


def load(folder: Path) -> Manifest:
    """The manifest of the extension in a folder, whose name counts.

    Raises:
        FilesError: it is missing or wrong.
    """
    path = folder / "extension.json"
    try:
        return parse(path.read_text(encoding="utf-8")).named(folder.name)
    except ManifestError as err:
        raise FilesError(f"failed to parse contents of {path} as json", str(err)) from err
    except OSError as err:
        why = f"{err.strerror} (os error {err.errno})"
        links = ("failed to read JSON file", f"failed to read from {path}", why)
        raise FilesError(*links) from err


def parse(text: str) -> Manifest:
    """Read a manifest.

    Raises:
        ManifestError: dfx would not read it, and no command of dfx would run any more.
    """
    found = _load(text)
    _object(found, "struct ExtensionManifest")
    _known(found, tuple(_MANIFEST))
    for name, kind in _MANIFEST.items():
        if name in found:
            _check(found[name], kind)
    for name in _REQUIRED:
        if name not in found:
            raise ManifestError(f"missing field `{name}`")
    return Manifest(
        name=found["name"],
        version=found["version"],
        summary=found["summary"],
        subcommands=_commands(found.get("subcommands")),
        download_url_template=found.get("download_url_template"),
    )


def _load(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as err:
        if err.pos >= len(text.rstrip()):
            what = "an object" if text.lstrip()[:1] == "{" else "a value"
            raise ManifestError(f"EOF while parsing {what}") from err
        raise ManifestError(str(err)) from err


def _commands(found: Any) -> dict[str, ManifestCommand]:
    if found is None:
        return {}
    _object(found, "a map")
    commands = {}
    for name, each in sorted(found.items()):
        _object(each, "struct ExtensionSubcommandOpts")
        _known(each, _COMMAND)
        _check(each.get("about"), "string?")
        args = {} if each.get("args") is None else each["args"]
        _object(args, "a map")
        commands[name] = ManifestCommand(
            about=each.get("about"),
            args={word: _arg(fields) for word, fields in sorted(args.items())},
            subcommands=_commands(each.get("subcommands")),
        )
    return commands


def _arg(found: Any) -> ManifestArg:
    _object(found, "struct ExtensionSubcommandArgOpts")
    _known(found, _ARG)
    for name in ("about", "long"):
        _check(found.get(name), "string?")
    short = found.get("short")
    if short is not None and not isinstance(short, str):
        raise ManifestError(f"invalid type: {_told(short)}, expected a character")
    if short is not None and len(short) != 1:
        raise ManifestError(f'invalid value: string "{short}", expected a character')
    multiple = found.get("multiple", False)
    if not isinstance(multiple, bool):
        raise ManifestError(f"invalid type: {_told(multiple)}, expected a boolean")
    least, most = _values(found.get("values", 1))
    if multiple:
        least, most = 0, None
    return ManifestArg(
        about=found.get("about"), long=found.get("long"), short=short, least=least, most=most
    )


def _values(value: Any) -> tuple[int, int | None]:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value, value
    if not isinstance(value, str):
        raise ManifestError("data did not match any variant of untagged enum StrOrUsize")
    if value == "unlimited":
        return 0, None
    if "..=" in value:
        raise ManifestError(f"Inclusive ranges are not supported: {value}")
    told = re.match(r"\+?(\d+)\.\.\+?(\d+)(?:\.\..*)?$", value)
    if told is None:
        raise ManifestError(
            f"Invalid format for values: '{value}'. Expected 'unlimited' or a positive integer or "
            "a range (for example '1..3')"
        )
    return int(told[1]), int(told[2])


def _known(found: dict[str, Any], names: tuple[str, ...]) -> None:
    for name in found:
        if name not in names:
            listed = ", ".join(f"`{each}`" for each in names)
            raise ManifestError(f"unknown field `{name}`, expected one of {listed}")


def _object(found: Any, expected: str) -> None:
    if not isinstance(found, dict):
        raise ManifestError(f"invalid type: {_told(found)}, expected {expected}")


def _check(value: Any, kind: Any) -> None:
    if isinstance(kind, str) and kind.endswith("?"):
        if value is None:
            return
        kind = kind[:-1]
    if kind in (str, "string", "version") and not isinstance(value, str):
        expected = "semver version" if kind == "version" else "a string"
        raise ManifestError(f"invalid type: {_told(value)}, expected {expected}")
    if kind == "version":
        _version(value)
    if kind == "strings":
        if not isinstance(value, list):
            raise ManifestError(f"invalid type: {_told(value)}, expected a sequence")
        for each in value:
            _check(each, str)


def _told(value: Any) -> str:
    """How serde names what it found instead."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"boolean `{json.dumps(value)}`"
    if isinstance(value, int):
        return f"integer `{value}`"
    if isinstance(value, float):
        return f"floating point `{value}`"
    if isinstance(value, str):
        return f'string "{value}"'
    return "sequence" if isinstance(value, list) else "map"


# -- versions -------------------------------------------------------------------------------------

_Numbers = tuple[int, int, int]


def _version(text: str) -> _Numbers:
    """The numbers of a version; what follows them plays no part here."""
    told = re.match(r"(\d+)\.(\d+)\.(\d+)(?:[-+].+)?$", text)
    if told is not None:
        return int(told[1]), int(told[2]), int(told[3])
    if not text:
        raise ManifestError("empty string, expected a semver version")
    missing = ("major", "minor")[min(text.count("."), 1)]
    raise ManifestError(f"unexpected end of input while parsing {missing} version number")


def highest_version(text: str, dfx: str) -> str | None:
    """The version of the extension that this dfx installs, or None when it fits none.

    Args:
        text: a dependencies.json.
        dfx: the version of dfx; what follows its numbers is left out.

    Raises:
        ManifestError: the file is wrong, or names anything but dfx.
    """
    found = _load(text)
    for version in sorted(found, key=_version, reverse=True):
        for name, requirement in found[version].items():
            if name != "dfx":
                raise ManifestError("'dfx' is the only supported dependency")
            if _fits(requirement["version"], _version(dfx)):
                return str(version)
    return None


def _fits(requirement: str, dfx: _Numbers) -> bool:
    return all(_compare(each.strip(), dfx) for each in requirement.split(","))


def _compare(comparator: str, dfx: _Numbers) -> bool:
    if comparator == "*":
        return True
    told = re.fullmatch(r"(>=|<=|>|<|=|\^|~)?\s*(\d+)(?:\.(\d+))?(?:\.(\d+))?", comparator)
    if told is None:
        raise ManifestError(f"unexpected character in {comparator!r}")
    given = tuple(int(part) for part in told.groups()[1:] if part is not None)
    same = dfx[: len(given)]
    found = {
        ">=": same >= given,
        ">": same > given,
        "<": same < given,
        "<=": same <= given,
        "=": same == given,
        "~": same[:2] == given[:2] and same >= given,
        "^": _caret(given, dfx) and same >= given,
    }
    return found[told[1] or "^"]


def _caret(given: tuple[int, ...], dfx: _Numbers) -> bool:
    """Equal up to the first number that is not zero, or the last one given."""
    kept = next((index for index, number in enumerate(given) if number), len(given) - 1)
    return dfx[: kept + 1] == given[: kept + 1]
