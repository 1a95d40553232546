"""The scripts of `completion`, written out of the command tree."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from typer.core import TyperGroup, TyperOption

from dfx_backup import __version__
from dfx_backup.cli.tree import tree

if TYPE_CHECKING:
    from typer._click import Command  # Typer keeps it to itself

_PATHS: Final = {"FILE", "DIR", "PATH|URL", "COMMAND"}
"""Metavariables in whose place a file or folder may stand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """An option of a command.

    Attributes:
        name: with its hyphens.
        help: its first line.
        takes: it takes a value.
        values: the only values, or none when that can't be told.
        path: the value is a file or a folder.
    """

    name: str
    help: str
    takes: bool
    values: tuple[str, ...]
    path: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A command or a group.

    Attributes:
        path: its words, with a space between.
        below: name and help of each command of a group.
        options: those of a command.
    """

    path: str
    below: tuple[tuple[str, str], ...]
    options: tuple[Option, ...]


def nodes() -> tuple[Node, ...]:
    """The whole tree, the root first."""
    return tuple(_walk(tree([]), ()))


def _walk(command: "Command", words: tuple[str, ...]) -> Iterator[Node]:
    below = command.commands if isinstance(command, TyperGroup) else {}
    yield Node(
        path=" ".join(words),
        below=tuple((name, _first(each.help)) for name, each in below.items()),
        options=tuple(_options(command)),
    )
    for name, each in below.items():
        yield from _walk(each, (*words, name))


def _options(command: "Command") -> Iterator[Option]:
    for each in command.params:
        if isinstance(each, TyperOption):
            for name in each.opts:
                yield Option(
                    name=name,
                    help=_first(each.help),
                    takes=not each.is_flag,
                    values=tuple(str(value) for value in getattr(each.type, "choices", ())),
                    path=each.metavar in _PATHS or name == "--file",
                )
    yield Option(name="--help", help="Show the help", takes=False, values=(), path=False)


def _first(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split()).rstrip(".")


def _quoted(text: str, *, apostrophe: str) -> str:
    """In single quotes; how a shell writes one inside of them differs."""
    return "'" + text.replace("\\", "").replace("'", apostrophe) + "'"


def _patterns(paths: Sequence[str]) -> str:
    return " | ".join(f'"{path}"' for path in paths)


def _valued(tree_: Sequence[Node]) -> Iterator[tuple[str, Option]]:
    """Options with a value, and the pattern for what stands before it: `COMMAND:--option`.

    One that means the same wherever it is stands there once, for all commands.
    """
    everywhere: dict[str, list[tuple[str, Option]]] = {}
    for node in tree_:
        for option in node.options:
            everywhere.setdefault(option.name, []).append((node.path, option))
    for name, found in everywhere.items():
        if len({(each.takes, each.values, each.path) for _, each in found}) == 1:
            found = [("", found[0][1])]  # noqa: PLW2901 - one for all
        for path, option in found:
            if option.takes:
                yield (f'"{path}:{name}"' if path else f'*":{name}"'), option


_Cases = Callable[[Sequence[Node]], Iterator[str]]


def _by_cases(text: str, values: _Cases, commands: _Cases) -> str:
    """A script whose two `case` statements hold what follows options and commands."""
    found = nodes()
    return text.format(
        version=__version__,
        known=_patterns([node.path for node in found if node.path]),
        values="\n".join(values(found)),
        commands="\n".join(commands(found)),
    )


# -- bash -----------------------------------------------------------------------------------------

_BASH = """\
# bash completion of dfx-backup {version}; made by `dfx-backup completion bash`.
# shellcheck shell=bash disable=SC2207
_dfx_backup() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}}
    local at="" word words=""
    if [[ $current == "=" ]]; then
        current=""
    elif [[ $previous == "=" ]]; then
        previous=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD - 1}}"; do
        case "${{at:+$at }}$word" in
            {known}) at="${{at:+$at }}$word" ;;
            *) break ;;
        esac
    done
    case "$at:$previous" in
{values}
    esac
    case "$at" in
{commands}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _dfx_backup dfx-backup
"""


def bash_script() -> str:
    """For bash 3.2 and later."""
    return _by_cases(_BASH, _bash_values, _bash_commands)


def _bash_values(found: Sequence[Node]) -> Iterator[str]:
    """What follows an option: fixed values, a file (bash's default), or what nobody knows."""
    for told, option in _valued(found):
        pattern = f"        {told})"
        if option.values:
            words = " ".join(option.values)
            yield f'{pattern} COMPREPLY=($(compgen -W "{words}" -- "$current")); return ;;'
        elif option.path:
            yield f"{pattern} return ;;"
        else:
            yield f"{pattern} compopt +o default 2>/dev/null; return ;;"


def _bash_commands(found: Sequence[Node]) -> Iterator[str]:
    for node in found:
        words = " ".join([name for name, _ in node.below] or [each.name for each in node.options])
        yield f'        "{node.path}") words="{words}" ;;'


# -- zsh ------------------------------------------------------------------------------------------

_ZSH = """\
#compdef dfx-backup
# zsh completion of dfx-backup {version}; made by `dfx-backup completion zsh`.
_dfx_backup() {{
    local at="" word
    local -a told
    for word in "${{(@)words[2,CURRENT-1]}}"; do
        case "${{at:+$at }}$word" in
            ({known}) at="${{at:+$at }}$word" ;;
            (*) break ;;
        esac
    done
    case "$at:${{words[CURRENT-1]}}" in
{values}
    esac
    case "$at" in
{commands}
    esac
}}
if [[ ${{funcstack[1]}} == _dfx-backup ]]; then
    _dfx_backup "$@"
else
    compdef _dfx_backup dfx-backup
fi
"""


def zsh_script() -> str:
    """For zsh 5 and later, as a file of `fpath` or sourced."""
    return _by_cases(_ZSH, _zsh_values, _zsh_commands)


def _zsh_values(found: Sequence[Node]) -> Iterator[str]:
    for told, option in _valued(found):
        pattern = f"        ({told})"
        if option.values:
            yield f"{pattern} compadd -- {' '.join(option.values)}; return ;;"
        elif option.path:
            yield f"{pattern} _files; return ;;"
        else:
            yield f"{pattern} _message {_zsh_quoted(option.help)}; return ;;"


def _zsh_quoted(text: str) -> str:
    return _quoted(text, apostrophe="'\\''")


def _zsh_commands(found: Sequence[Node]) -> Iterator[str]:
    for node in found:
        pairs = node.below or tuple((each.name, each.help) for each in node.options)
        told = " ".join(_zsh_quoted(f"{name}:{help_}") for name, help_ in pairs)
        then = "_describe command told" if node.below else "_describe -o option told; _files"
        yield f'        ("{node.path}") told=({told}); {then} ;;'


# -- fish -----------------------------------------------------------------------------------------

_FISH = """\
# fish completion of dfx-backup {version}; made by `dfx-backup completion fish`.
function __dfx_backup_at
    set -l at
    for word in (commandline -opc)[2..-1]
        contains -- (string join ' ' -- $at $word) {known}
        or break
        set at $at $word
    end
    test "$at" = "$argv[1]"
end
complete --command dfx-backup --erase
complete --command dfx-backup --no-files --condition '__dfx_backup_at ""'
{lines}
"""


def fish_script() -> str:
    """For fish 3 and later."""
    found = nodes()
    return _FISH.format(
        version=__version__,
        known=" ".join(f"'{node.path}'" for node in found if node.path),
        lines="\n".join(_fish_lines(found)),
    )


def _fish_quoted(text: str) -> str:
    return _quoted(text, apostrophe="\\'")


def _fish_lines(found: Sequence[Node]) -> Iterator[str]:
    for node in found:
        head = f"complete --command dfx-backup --condition '__dfx_backup_at \"{node.path}\"'"
        for name, help_ in node.below:
            yield f"{head} --no-files --arguments {name} --description {_fish_quoted(help_)}"
        for each in node.options if node.path and not node.below else ():
            more = ""
            if each.values:
                more = f" --exclusive --arguments '{' '.join(each.values)}'"
            elif each.takes:
                more = " --require-parameter" if each.path else " --exclusive"
            long = each.name.removeprefix("--")
            yield f"{head} --long-option {long}{more} --description {_fish_quoted(each.help)}"
