"""The command tree: which module has which commands, and only as much of it as a line needs.

To load every module and to make Typer look at every option takes longer than most commands do.
"""

import functools
import importlib
from typing import TYPE_CHECKING, Final

import typer
from typer.main import get_command

from dfx_backup.cli.session import require_command

if TYPE_CHECKING:
    from typer._click import Command  # Typer keeps it to itself, and returns it

MODULES: Final = {
    "snapshot": ("snapshot",),
    "stable": ("stable",),
    "kit": ("kit",),
    "recover": ("recover",),
    "repository": ("init", "verify", "unlock", "key"),
    "create": ("create",),
    "backup": ("list", "show", "diff", "import", "export", "pin", "unpin"),
    "restore": ("restore",),
    "retention": ("forget", "prune"),
    "doctor": ("doctor",),
    "estimate": ("estimate",),
    "completion": ("completion",),
}
"""The first words of command lines, by the module of `cli` that registers them; in help's order."""

HELP_OPTIONS: Final = ["-h", "--help"]
"""On every command; dfx, whose users we have, knows both."""

_MODULE_OF: Final = {word: module for module, words in MODULES.items() for word in words}


def tree(argv: list[str]) -> "Command":
    """The part of the tree in which a line's command is; all of it when that can't be told.

    Args:
        argv: the line, after the program's name.
    """
    module = _MODULE_OF.get(argv[0]) if argv else None
    return _build(tuple(MODULES) if module is None else (module,))


@functools.cache
def _build(modules: tuple[str, ...]) -> "Command":
    app = typer.Typer(
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="Backups of Internet Computer canisters.",
        epilog="`dfx-backup --version` prints our version, and those of dfx and icp.",
        callback=require_command,
        invoke_without_command=True,
    )
    for name in modules:
        importlib.import_module(f"{__package__}.{name}").register(app)
    return get_command(app)
