"""`completion bash`, `zsh` and `fish`: scripts that complete command lines of the program.

A script holds the whole tree, so that a shell completes without starting anything. It is made for
the stand-alone program: dfx does its own parsing.
"""

from collections.abc import Callable

import typer

from dfx_backup.cli.output import Report
from dfx_backup.cli.session import Run, command, require_command

group = typer.Typer(
    rich_markup_mode=None,
    help="Print a script that completes command lines of `dfx-backup`.",
    callback=require_command,
    invoke_without_command=True,
)


def register(app: typer.Typer) -> None:
    """Put the group into the tree."""
    app.add_typer(group, name="completion")


@command(group, "bash", tells_pending=False)
def bash(run: Run) -> Report:
    """Print the script for bash: `source <(dfx-backup completion bash)`."""
    from dfx_backup.cli.completion_scripts import bash_script

    return _printed(run, "bash", bash_script)


@command(group, "zsh", tells_pending=False)
def zsh(run: Run) -> Report:
    """Print the script for zsh: a file `_dfx-backup` in a folder of `fpath`."""
    from dfx_backup.cli.completion_scripts import zsh_script

    return _printed(run, "zsh", zsh_script)


@command(group, "fish", tells_pending=False)
def fish(run: Run) -> Report:
    """Print the script for fish: a file in ~/.config/fish/completions."""
    from dfx_backup.cli.completion_scripts import fish_script

    return _printed(run, "fish", fish_script)


def _printed(run: Run, shell: str, write: Callable[[], str]) -> Report:
    del run
    script = write()
    return Report(data={"shell": shell, "script": script}, lines=tuple(script.splitlines()))
