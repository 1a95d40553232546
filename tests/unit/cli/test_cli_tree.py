"""What a line loads of the tree is what the whole tree has there."""

from typing import Any

import pytest
from typer.core import TyperGroup

from dfx_backup.cli.tree import MODULES, tree


def shape(command: Any) -> Any:
    """Names of commands below, and of options, as deep as they go."""
    if isinstance(command, TyperGroup):
        return {name: shape(below) for name, below in command.commands.items()}
    return [(option.name, option.opts, option.help) for option in command.params]


WHOLE = shape(tree([]))
WORDS = [(module, word) for module, words in MODULES.items() for word in words]


def test_every_command_has_its_module() -> None:
    assert set(WHOLE) == {word for _, word in WORDS}


@pytest.mark.parametrize(("module", "word"), WORDS, ids=lambda each: each)
def test_a_line_loads_the_module_of_its_command_alone(module: str, word: str) -> None:
    part = shape(tree([word, "--help"]))

    assert part[word] == WHOLE[word]
    assert set(part) == set(MODULES[module])


@pytest.mark.parametrize("argv", [[], ["--help"], ["nonsense"], ["--yes", "create"]])
def test_other_lines_get_the_whole_tree(argv: list[str]) -> None:
    assert shape(tree(argv)) == WHOLE
