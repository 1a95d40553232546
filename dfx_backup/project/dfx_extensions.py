"""Extensions as dfx finds them: `versions/X.Y.Z/extensions/NAME` below its cache root.

dfx reads the manifest of every installed extension before it does anything, and one that it can't
read makes every command of that version fail, whatever the command.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

MANIFEST: Final = "extension.json"
NAME: Final = "backup"
"""What our extension is called."""

_TEXTS: Final = ("name", "version", "homepage", "summary")
_OPTIONAL_TEXTS: Final = ("authors", "description", "download_url_template")
_FIELDS: Final = frozenset(
    {
        *_TEXTS,
        "categories",
        "authors",
        "description",
        "keywords",
        "subcommands",
        "dependencies",
        "canister_type",
        "project_templates",
        "download_url_template",
    }
)
_COMMAND_FIELDS: Final = frozenset({"about", "args", "subcommands"})
_ARG_FIELDS: Final = frozenset({"about", "long", "short", "multiple", "values"})
_SEMVER: Final = re.compile(r"\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?")
_RANGE: Final = re.compile(r"\d+\.\.\d+")
_TEMPORARY: Final = ".tmp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """A folder that dfx takes for an extension.

    Attributes:
        dfx: the version of dfx that finds it there, as its cache names it.
        folder: where it is.
        version: what its manifest says, or None when that can't be read.
        problem: why dfx can't read the manifest, or None.
        runs: there is a program in it that may be started.
    """

    dfx: str
    folder: Path
    version: str | None
    problem: str | None
    runs: bool

    @property
    def name(self) -> str:
        """What dfx calls it: the folder's name, whatever the manifest says."""
        return self.folder.name


def dfx_versions(cache_root: Path) -> tuple[str, ...]:
    """The versions of dfx that have a cache, sorted as text."""
    return tuple(sorted(each.name for each in _folders(cache_root / "versions")))


def extensions(cache_root: Path) -> tuple[Extension, ...]:
    """All extensions of all versions of dfx. Links and temporary folders are none to dfx either.

    Args:
        cache_root: `${DFX_CACHE_ROOT:-$HOME}/.cache/dfinity`.
    """
    found = [
        _read(version.name, folder)
        for version in _folders(cache_root / "versions")
        for folder in _folders(version / "extensions")
        if not folder.name.startswith(_TEMPORARY)
    ]
    return tuple(sorted(found, key=lambda each: (each.dfx, each.name)))


def manifest_problem(content: object) -> str | None:
    """Why dfx would not accept a manifest, or None; unknown fields are errors to it.

    Args:
        content: the manifest, parsed.
    """
    return next(_problems(content), None)


def _folders(parent: Path) -> list[Path]:
    try:
        return [each for each in parent.iterdir() if each.is_dir() and not each.is_symlink()]
    except OSError:
        return []


def _read(dfx: str, folder: Path) -> Extension:
    program = folder / folder.name
    runs = program.is_file() and os.access(program, os.X_OK)
    version, problem = None, None
    try:
        content = json.loads((folder / MANIFEST).read_bytes())
    except OSError as error:
        problem = f"{MANIFEST} can't be read: {error.strerror}"
    except (ValueError, RecursionError):
        problem = f"{MANIFEST} is no JSON"
    else:
        problem = manifest_problem(content)
        told = content.get("version") if isinstance(content, dict) else None
        version = told if isinstance(told, str) else None
    return Extension(dfx=dfx, folder=folder, version=version, problem=problem, runs=runs)


def _problems(content: object) -> Iterator[str]:
    if not isinstance(content, dict):
        yield "it is no JSON object"
        return
    yield from _strangers(content, _FIELDS, "the manifest")
    for name in _TEXTS:
        if not isinstance(content.get(name), str):
            yield f"`{name}` is missing, or no text"
    if not _SEMVER.fullmatch(str(content.get("version"))):
        yield f"`version` is {content.get('version')!r}, which is no version"
    if not _is_texts(content.get("categories")):
        yield "`categories` is missing, or no list of texts"
    if not _is_texts(content.get("keywords") or []):
        yield "`keywords` is no list of texts"
    for name in _OPTIONAL_TEXTS:
        if not isinstance(content.get(name) or "", str):
            yield f"`{name}` is no text"
    yield from _commands(content.get("subcommands"), "")


def _is_texts(told: object) -> bool:
    return isinstance(told, list) and all(isinstance(each, str) for each in told)


def _commands(commands: Any, path: str) -> Iterator[str]:  # noqa: ANN401 - JSON
    if commands is None:
        return
    if not isinstance(commands, dict):
        yield f"`subcommands` of {path or 'the manifest'} is no object"
        return
    for name, command in commands.items():
        where = f"{path} {name}".strip()
        if not isinstance(command, dict):
            yield f"subcommand `{where}` is no object"
            continue
        yield from _strangers(command, _COMMAND_FIELDS, f"subcommand `{where}`")
        if not isinstance(command.get("about") or "", str):
            yield f"`about` of `{where}` is no text"
        yield from _arguments(command.get("args"), where)
        yield from _commands(command.get("subcommands"), where)


def _arguments(told: Any, where: str) -> Iterator[str]:  # noqa: ANN401 - JSON
    if told is None:
        return
    if not isinstance(told, dict):
        yield f"`args` of `{where}` is no object"
        return
    for name, about in told.items():
        yield from _argument(about, f"argument `{name}` of `{where}`")


def _argument(told: Any, where: str) -> Iterator[str]:  # noqa: ANN401 - JSON
    if not isinstance(told, dict):
        yield f"{where} is no object"
        return
    yield from _strangers(told, _ARG_FIELDS, where)
    if not isinstance(told.get("about"), str):
        yield f"{where} is missing its description, `about`"
    short, long = told.get("short"), told.get("long")
    if short is not None and not (isinstance(short, str) and len(short) == 1):
        yield f"the short name of {where} is no single letter"
    if not isinstance(long or "", str):
        yield f"the long name of {where} is no text"
    if not isinstance(told.get("multiple", False), bool):
        yield f"`multiple` of {where} is neither true nor false"
    values = told.get("values", 1)
    number = isinstance(values, int) and not isinstance(values, bool) and values >= 0
    if not number and values != "unlimited" and not _RANGE.fullmatch(str(values)):
        yield f"{where} takes {values!r} values, which dfx does not know"


def _strangers(told: Mapping[str, object], known: frozenset[str], where: str) -> Iterator[str]:
    for name in sorted(set(told) - known):
        yield f"{where} has a field that dfx does not know, `{name}`"
