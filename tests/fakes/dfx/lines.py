"""Lines that users may type after `dfx`: each option of each command, in every way to write it."""

from collections.abc import Iterator

from typer.core import TyperGroup, TyperOption

from tests.fakes.tree import commands

VALUES = ("x", "two words", "-x", "--x=1", "-5", "-", "--", "", "help", "create", "--help")


def option_lines() -> Iterator[list[str]]:
    """Each option alone, with values of all kinds, repeated, before and behind a word; and all."""
    for words, command in commands():
        if isinstance(command, TyperGroup):
            continue
        line = ["backup", *words]
        options = [each for each in command.params if isinstance(each, TyperOption)]
        for option in options:
            for name in option.opts:
                yield from ([*line, *rest] for rest in _ways(option, name))
        every = [
            word
            for each in options
            for word in ([each.opts[0]] if each.is_flag else [each.opts[0], "x"])
        ]
        yield [*line, *every, "x"]
        yield [*line, "x", *every]


def _ways(option: TyperOption, name: str) -> Iterator[list[str]]:
    if option.is_flag:
        yield from ([name], [name, "x"], ["x", name], ["x", name, name])
        return
    for value in VALUES:
        yield ["x", name, value]
        yield ["x", f"{name}={value}"]
    yield [name, "x"]
    yield [name, "-x"]
    yield [f"{name}=-x"]
    yield ["x", name, "a", name, "b"]
    if option.multiple:
        yield [name, "a", name, "b"]
        yield [name, "-a", f"{name}=b", name, "--c", "x"]
