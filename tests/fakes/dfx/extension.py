"""`dfx backup …`: parses the line with the installed manifests, and starts the extension.

dfx parses twice: first with its own commands and those of every installed manifest, and then, with
`extension run` put before the extension's name, with its own alone. What the second pass leaves
over is what the extension gets.
"""

import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.dfx import clap, project
from tests.fakes.dfx.clap import Arg, Command, HelpError, UsageError, VersionError
from tests.fakes.dfx.extension_install import install
from tests.fakes.dfx.manifest import FilesError, Manifest, ManifestCommand, installed
from tests.fakes.dfx.shell import ArgumentsError, DfxError, Shell

GLOBALS = (
    Arg(name="verbose", long="verbose", short="v", least=0, most=0, counts=True, is_global=True),
    Arg(name="quiet", long="quiet", short="q", least=0, most=0, counts=True, is_global=True),
    Arg(
        name="logmode",
        long="log",
        shown="LOGMODE",
        choices=("stderr", "tee", "file"),
        is_global=True,
    ),
    Arg(name="logfile", long="logfile", shown="LOGFILE", is_global=True),
    Arg(name="identity", long="identity", shown="IDENTITY", is_global=True),
    Arg(
        name="provisional_create_canister_effective_canister_id",
        long="provisional-create-canister-effective-canister-id",
        shown="PRINCIPAL",
        is_global=True,
    ),
)
_VERSION = Arg(name="version", long="version", short="V", least=0, most=0, is_version=True)
BUILTINS = (
    *("beta", "build", "cache", "canister", "config", "completion", "cycles", "deploy", "deps"),
    *("diagnose", "fix", "generate", "identity", "info", "killall", "ledger", "new", "ping"),
    *("quickstart", "remote", "schema", "_send-telemetry", "start", "stop", "toolchain"),
    *("upgrade", "wallet"),
)
_EXTENSION = Command(
    name="extension",
    about="Manages the dfx extensions",
    needs_command=True,
    subcommands=(
        Command(
            name="install",
            args=(
                Arg(name="name", shown="NAME", required=True),
                Arg(name="install_as", long="install-as", shown="INSTALL_AS"),
                Arg(name="version", long="version", shown="VERSION"),
                Arg(name="catalog_url", long="catalog-url", shown="CATALOG_URL"),
            ),
        ),
        Command(name="uninstall", args=(Arg(name="name", shown="NAME", required=True),)),
        Command(
            name="run",
            args=(
                Arg(name="name", shown="NAME", required=True),
                Arg(name="params", shown="PARAMS", most=None, hyphens=True),
            ),
        ),
        Command(name="list"),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Start an extension.

    Attributes:
        name: which one.
        passed: its arguments, without dfx's trailing pair.
        identity: what dfx took for itself, and tells nobody.
    """

    name: str
    passed: list[str]
    identity: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manage:
    """`dfx extension VERB`, other than run."""

    verb: str
    name: str = ""
    install_as: str | None = None
    version: str | None = None


def load_manifests(shell: Shell) -> dict[str, Manifest]:
    """All of them: one bad manifest breaks every command."""
    try:
        return installed(shell.cache / "extensions")
    except FilesError as err:
        raise DfxError(*err.links) from err


def route(manifests: dict[str, Manifest], argv: list[str]) -> Run | Manage | None:
    """What dfx does with a line; None leaves it to the builtin commands.

    Raises:
        DfxError: a manifest can't be made into commands.
        UsageError, HelpError, VersionError: clap ends it.
    """
    spliced = list(argv)
    if manifests:
        found = clap.parse(_root(tuple(_as_command(each) for each in manifests.values())), argv)
        if found.command is None:
            raise DfxError("called `Option::unwrap()` on a `None` value")  # dfx panics
        if found.command in manifests:
            at = spliced.index(found.command)  # the first word like it, whatever it stands for
            spliced[at:at] = ["extension", "run"]
    elif "extension" not in argv:
        return None
    found = clap.parse(_root(()), spliced)
    if found.command != "extension" or found.below is None or found.below.below is None:
        return None
    verb, told = found.below.command, found.below.below
    name = told.values.get("name", [""])[0]
    if verb != "run":
        renamed, version = (told.deepest(each) for each in ("install_as", "version"))
        return Manage(verb=str(verb), name=name, install_as=renamed, version=version)
    return Run(name=name, passed=told.values.get("params", []), identity=found.deepest("identity"))


def _root(extensions: tuple[Command, ...]) -> Command:
    builtins = tuple(Command(name=name, is_opaque=True) for name in BUILTINS)
    commands = sorted((*builtins, _EXTENSION, *extensions), key=lambda each: each.name)
    return Command(
        name="dfx", args=(*GLOBALS, _VERSION), subcommands=tuple(commands), needs_words=True
    )


def _as_command(manifest: Manifest) -> Command:
    below = _as_commands(manifest.subcommands)
    return Command(name=manifest.name, about=manifest.summary, subcommands=below)


def _as_commands(found: dict[str, ManifestCommand]) -> tuple[Command, ...]:
    return tuple(
        Command(
            name=name,
            about=each.about or "",
            args=tuple(_as_arg(word, each) for word in each.args),
            subcommands=_as_commands(each.subcommands),
        )
        for name, each in found.items()
    )


def _as_arg(name: str, command: ManifestCommand) -> Arg:
    found = command.args[name]
    if found.about is None:
        raise DfxError(f"Extension's subcommand argument '{name}' is missing description.")
    return Arg(
        name=name,
        about=found.about,
        long=found.long,
        short=found.short,
        least=found.least,
        most=found.most,
        hyphens=True,
    )


def extension(shell: Shell, argv: list[str]) -> int | None:
    """Do what the line says when it concerns extensions; None when it does not."""
    try:
        found = route(load_manifests(shell), argv)
    except UsageError as err:
        raise ArgumentsError(str(err)) from err
    except VersionError:
        shell.out(f"dfx {shell.version}")
        return 0
    except HelpError as err:
        (sys.stderr if err.code else sys.stdout).write(err.text())
        return err.code
    if isinstance(found, Run):
        return run_extension(shell, found.name, found.passed)
    if isinstance(found, Manage):
        return _manage(shell, found)
    return None


def run_extension(shell: Shell, name: str, parameters: list[str]) -> int:
    """Run it in the project's root; every failure of it becomes 255."""
    root = project.project_root()
    project.dfx_json(root)  # an invalid one ends it here
    folder = shell.cache / "extensions" / name
    if not folder.exists():
        raise DfxError(f"Extension '{name}' not installed.")
    binary = folder / name
    if not binary.exists():
        raise DfxError(f"Cannot find extension binary at '{binary}'.")
    if not binary.is_file():
        raise DfxError(f"Extension binary at {binary} is not an executable file.")
    argv = [str(binary), *parameters, "--dfx-cache-path", str(shell.cache)]
    try:
        with subprocess.Popen(argv, cwd=root or Path.cwd()) as child:
            code = child.wait()
    except OSError as err:
        why = f"{err.strerror} (os error {err.errno})"
        raise DfxError(f"Failed to run extension '{name}'", why) from err
    if code == 0:
        return 0
    if code < 0:
        raise DfxError("Extension terminated by signal.")
    raise DfxError(f"Extension exited with non-zero status code '{code}'.")


def _manage(shell: Shell, what: Manage) -> int:
    if what.verb == "uninstall":
        folder = shell.cache / "extensions" / what.name
        try:
            shutil.rmtree(folder)
        except OSError as err:
            why = f"{err.strerror} (os error {err.errno})"
            links = (f"failed to remove directory {folder} and its contents", why)
            raise DfxError(*links) from err
        return 0
    if what.verb == "install":
        builtins = (*BUILTINS, _EXTENSION.name)
        renamed, version = what.install_as, what.version
        install(shell, what.name, builtins=builtins, install_as=renamed, version=version)
        return 0
    names = load_manifests(shell)
    sys.stderr.write("Installed extensions:\n" if names else "No extensions installed.\n")
    for name in names:
        sys.stderr.write("  ")
        sys.stderr.flush()
        shell.out(name)
    return 0


def die_on_interrupt() -> None:
    """dfx has no handler: Ctrl-C ends it at once, and the extension goes on alone."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.stdout.flush()
