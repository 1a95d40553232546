"""`dfx backup …`: starts an installed extension as dfx does."""

import json
import signal
import subprocess
import sys
from pathlib import Path

from tests.fakes.dfx import project
from tests.fakes.dfx.shell import DfxError, Shell

_VALUED = {"--identity", "--log", "--logfile"}
_FLAGS = {"-v", "--verbose", "-q", "--quiet"}
_RUN = ("extension", "run")


def check_manifests(shell: Shell) -> None:
    """One bad manifest breaks every command; a folder without one is left alone here."""
    for manifest in sorted((shell.cache / "extensions").glob("*/extension.json")):
        try:
            json.loads(manifest.read_text())
        except ValueError as err:
            raise DfxError(
                "Failed to load extension manifest",
                f"failed to parse contents of {manifest} as json",
                str(err),
            ) from err


def find_extension(shell: Shell, argv: list[str]) -> tuple[str, list[str]] | None:
    """The extension that argv names and what it gets, or None when argv names none.

    Global options before the first parameter are dfx's own: they are swallowed, and nothing
    tells the extension. After it everything is passed on.
    """
    rest = list(argv)
    _swallow(rest)
    if tuple(rest[:2]) == _RUN:
        del rest[:2]
        _swallow(rest)
    if not rest or not (shell.cache / "extensions" / rest[0]).is_dir():
        return None
    name = rest.pop(0)
    _swallow(rest)
    return name, rest


def _swallow(rest: list[str]) -> None:
    while rest:
        option, equals, _ = rest[0].partition("=")
        if option in _FLAGS:
            del rest[:1]
        elif option in _VALUED:
            del rest[: 1 if equals else 2]
        else:
            return


def run_extension(shell: Shell, name: str, parameters: list[str]) -> int:
    """Run it in the project's root; every failure of it becomes 255."""
    if parameters[:1] in (["--help"], ["-h"], ["help"]):
        print(f"The manifest's help of {name}")
        return 0
    binary = shell.cache / "extensions" / name / name
    if not binary.is_file():
        raise DfxError(f"Cannot find extension binary at '{binary}'.")
    root = project.project_root()
    project.dfx_json(root)  # an invalid one ends it here
    argv = [str(binary), *parameters, "--dfx-cache-path", str(shell.cache)]
    try:
        with subprocess.Popen(argv, cwd=root or Path.cwd()) as child:
            code = child.wait()
    except OSError as err:
        raise DfxError(f"Failed to run extension '{name}'", str(err)) from err
    if code == 0:
        return 0
    if code < 0:
        raise DfxError("Extension terminated by signal.")
    raise DfxError(f"Extension exited with non-zero status code '{code}'.")


def die_on_interrupt() -> None:
    """dfx has no handler: Ctrl-C ends it at once, and the extension goes on alone."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.stdout.flush()
