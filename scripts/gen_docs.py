"""Write docs/cli-reference.md out of the command tree.

A test compares; run this after a change of commands, options or their help.
"""

import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from dfx_backup.cli.options import Shared  # noqa: E402 - only now can it be found
from dfx_backup.cli.repository_options import RepositoryChoice  # noqa: E402 - the same
from tests.fakes.tree import commands, leaves  # noqa: E402 - the same

REFERENCE = ROOT / "docs" / "cli-reference.md"

_SHARED = tuple(each.name for each in fields(Shared))
_REPOSITORY = tuple(each.name for each in fields(RepositoryChoice))
_OF_EVERY = "#options-of-every-command"
_OF_REPOSITORY = "#options-of-a-repository"

_HEAD = """# Command line

<!-- Written by scripts/gen_docs.py out of the help texts: change those. -->

`dfx-backup COMMAND` and `dfx backup COMMAND` are the same program. Every option stands behind the
whole command. `COMMAND --help` prints what stands here, `dfx-backup --version` which programs it
found. Exit codes are in [exit-codes.md](exit-codes.md), the output of `--json` in
[json-output.md](json-output.md), variables in [environment.md](environment.md).
"""


def reference() -> str:
    """The whole document."""
    tree = dict(commands())
    every = tree[("create",)]  # it has all the options that commands share
    parts = [_HEAD, "\n".join(_index(tree))]
    parts.append("## Options of every command\n\n" + _table(every, _SHARED))
    told = "Of every command that says so below.\n\n" + _table(every, _REPOSITORY)
    parts.append("## Options of a repository\n\n" + told)
    parts += ["\n\n".join(_section(words, tree[words])) for words in leaves()]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _index(tree: dict[tuple[str, ...], Any]) -> Iterator[str]:
    yield "| command | does |"
    yield "| --- | --- |"
    for words in leaves():
        name = " ".join(words)
        yield f"| [`{name}`](#{'-'.join(words)}) | {_cell(tree[words].help)} |"


def _section(words: tuple[str, ...], command: TyperCommand) -> Iterator[str]:
    name = " ".join(words)
    context = typer.Context(command, info_name=f"dfx-backup {name}")
    usage = " ".join(" ".join(command.collect_usage_pieces(context)).split())
    yield f"## {name}"
    yield _line(command.help)
    yield f"```text\ndfx-backup {name} {usage}\n```"
    own = tuple(
        each.name
        for each in command.params
        if each.name not in (*_SHARED, *_REPOSITORY) and each.param_type_name != "context"
    )
    if own:
        yield _table(command, own)
    names = {each.name for each in command.params}
    more = [f"[options of every command]({_OF_EVERY})"]
    if set(_REPOSITORY) <= names:
        more.insert(0, f"[those of a repository]({_OF_REPOSITORY})")
    yield f"And {' and '.join(more)}."


def _table(command: TyperCommand, names: tuple[str, ...]) -> str:
    rows = ["| | |", "| --- | --- |"]
    context = typer.Context(command)
    for each in command.params:
        record = each.get_help_record(context) if each.name in names else None
        if record is not None:
            rows.append(
                f"| `{_line(record[0]).replace('|', chr(92) + '|')}` | {_cell(record[1])} |"
            )
    return "\n".join(rows)


def _line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|").replace("<", "&lt;")


def main() -> None:
    """Write the document."""
    REFERENCE.write_text(reference(), encoding="utf-8")
    print(REFERENCE.relative_to(ROOT))


if __name__ == "__main__":
    main()
