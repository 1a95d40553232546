"""The command tree as tests walk it."""

import os
from collections.abc import Iterator
from typing import Any
from unittest import mock

import typer
from typer.core import TyperGroup

from dfx_backup.cli.tree import HELP_OPTIONS, tree


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and group with the words that lead to it, the root first."""
    queue: list[tuple[tuple[str, ...], Any]] = [((), tree([]))]
    while queue:
        words, command = queue.pop(0)
        yield words, command
        if isinstance(command, TyperGroup):
            queue += [((*words, name), below) for name, below in command.commands.items()]


def leaves() -> list[tuple[str, ...]]:
    """The words of every command that does something."""
    return [words for words, command in commands() if not isinstance(command, TyperGroup)]


def help_texts() -> dict[str, str]:
    """The help of every command at 80 columns, by the name of its golden file."""
    texts = {}
    with mock.patch.dict(os.environ, {"COLUMNS": "80"}):
        for words, command in commands():
            name = " ".join(("dfx-backup", *words))
            context = typer.Context(command, info_name=name, help_option_names=HELP_OPTIONS)
            texts[f"{'-'.join(words) or 'dfx-backup'}.txt"] = command.get_help(context) + "\n"
    return texts
