"""The process's surroundings, read once: environment, working directory, terminal, clock, parent.

Nothing else in the package reads any of these; what is needed further down is passed as a value.
"""

import getpass
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from dfx_backup.cli import parent
from dfx_backup.errors import RefusedError
from dfx_backup.model import Places
from dfx_backup.operations.target import Clock

_PROC = Path("/proc")


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds on a clock that nobody sets."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


def _username() -> str:
    """The user's name; the number of one who has none, as in some containers."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return str(os.getuid())


def _ask_password(prompt: str) -> str:
    """A line typed without echo; empty at the end of the input. The next output begins a line."""
    try:
        return getpass.getpass(prompt)
    except (EOFError, KeyboardInterrupt) as end:
        with suppress(OSError):
            sys.stderr.write("\n")
        if isinstance(end, KeyboardInterrupt):
            raise
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the process finds around it; tests build their own.

    Attributes:
        environment: environment variables; an empty one counts as not set.
        cwd: the directory in which the user typed the command, as far as it can be known.
        home: the user's home directory.
        platform: `sys.platform`.
        stdin: where answers to questions come from.
        stdout: where the result goes.
        stderr: where everything else goes.
        clock: the only source of time.
        random: unpredictable bytes, as many as asked for.
        ask_password: shows a prompt on the terminal and reads a line without echo.
        process_id: our own process id.
        hostname: name of this machine, as locks of a repository carry it.
        username: name of the user, for the same.
        user_id: numeric id of the user, for the same and for files of a backup.
        group_id: numeric id of the user's group, for the same.
        cache_path: dfx's cache directory when dfx started us, else None.
        swallowed_identity: the identity that dfx took for itself, or None.
        identity_uncertain: dfx started us, and what it took for itself could not be found out.
    """

    environment: Mapping[str, str] = field(repr=False)
    cwd: Path
    home: Path
    platform: str = sys.platform
    stdin: TextIO
    stdout: TextIO
    stderr: TextIO
    clock: Clock = field(default_factory=SystemClock)
    random: Callable[[int], bytes] = os.urandom
    ask_password: Callable[[str], str] = _ask_password
    process_id: int = field(default_factory=os.getpid)
    hostname: str = field(default_factory=socket.gethostname)
    username: str = field(default_factory=_username)
    user_id: int = field(default_factory=os.getuid)
    group_id: int = field(default_factory=os.getgid)
    cache_path: Path | None = None
    swallowed_identity: str | None = None
    identity_uncertain: bool = False

    def variable(self, name: str) -> str | None:
        """The environment variable's value, or None when it is not set or empty."""
        return self.environment.get(name) or None

    @property
    def can_ask(self) -> bool:
        """There is a terminal to ask on, and one to answer from."""
        return self.stdin.isatty() and self.stderr.isatty()

    @property
    def program(self) -> str:
        """How the user calls us."""
        return "dfx-backup" if self.cache_path is None else "dfx backup"

    def path(self, typed: str) -> Path:
        """A path as the user meant it: relative to where the command was typed."""
        return self.cwd / Path(typed).expanduser()


def read_surroundings(argv: list[str], cache_path: str | None) -> Surroundings:
    """Read what is around this process.

    Args:
        argv: our arguments without dfx's trailing pair.
        cache_path: the path of that pair, or None when dfx did not start us.
    """
    environment = dict(os.environ)
    cwd = _cwd(environment)
    dfx = None
    if cache_path is not None:
        dfx = parent.find_dfx(os.getppid(), proc=_PROC)
        cwd = Path(dfx.cwd) if dfx else _shell_cwd(environment.get("PWD"), cwd)
    return Surroundings(
        environment=environment,
        cwd=cwd,
        home=Path(environment.get("HOME") or Path("~").expanduser()),
        stdin=_standing(sys.stdin, 0),
        stdout=_standing(sys.stdout, 1),
        stderr=_standing(sys.stderr, 2),
        cache_path=None if cache_path is None else Path(cache_path),
        swallowed_identity=parent.swallowed_identity(dfx, argv) if dfx else None,
        identity_uncertain=cache_path is not None and dfx is None,
    )


def find_places(surroundings: Surroundings) -> Places:
    """The directories of dfx, icp and ourselves (XDG base directories; relative ones are ignored).

    dfx keeps its configuration in `$DFX_CONFIG_ROOT/.config/dfx`, its shared networks in the data
    directory of `org.dfinity.dfx`; icp-cli keeps all in `ICP_HOME`, else in its data directory.
    """
    home = surroundings.home

    def base(name: str, default: str) -> Path:
        value = surroundings.variable(name)
        return Path(value) if value and Path(value).is_absolute() else home / default

    if surroundings.platform == "darwin":
        support = home / "Library" / "Application Support"
        dfx_data, icp_data = support / "org.dfinity.dfx", support / "org.dfinity.icp-cli"
        icp_cache = home / "Library" / "Caches" / "org.dfinity.icp-cli"
    else:
        data = base("XDG_DATA_HOME", ".local/share")
        dfx_data, icp_data = data / "dfx", data / "icp-cli"
        icp_cache = base("XDG_CACHE_HOME", ".cache") / "icp-cli"
    icp_home = surroundings.variable("ICP_HOME")
    config_root = Path(surroundings.variable("DFX_CONFIG_ROOT") or home)
    return Places(
        cwd=str(surroundings.cwd),
        home=str(home),
        dfx_config=str(config_root / ".config" / "dfx"),
        dfx_shared_data=str(dfx_data),
        icp_home=icp_home or str(icp_data),
        state=str(base("XDG_STATE_HOME", ".local/state") / "dfx-backup"),
        icp_ports=str(Path(icp_home or icp_cache) / "port-descriptors"),
    )


def choose_identity(surroundings: Surroundings, given: str | None, *, changes: bool) -> str | None:
    """The identity's name: option, what dfx took for itself, DFX_IDENTITY; None leaves the default.

    Args:
        surroundings: where we run.
        given: the option after the subcommand.
        changes: the command changes a canister, so a guess is not good enough.

    Raises:
        RefusedError: dfx started us and an identity typed before `backup` can't be ruled out.
    """
    if given is not None:
        return given
    if surroundings.identity_uncertain and changes:
        raise RefusedError(
            "Started by dfx, but its command line can't be read: "
            "an `--identity` typed before `backup` would be lost",
            hint="Name the identity after the subcommand: `--identity NAME`.",
        )
    return surroundings.swallowed_identity or surroundings.variable("DFX_IDENTITY")


def _cwd(environment: Mapping[str, str]) -> Path:
    """Where the process stands; the name of a directory that was removed meanwhile."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path(environment.get("PWD") or "/")


def _standing(stream: TextIO | None, number: int) -> TextIO:
    """The standard stream; one that was closed leads nowhere.

    The number must not stay free: the next file opened, such as the journal, would get it, and
    whatever a library prints.
    """
    if stream is not None:
        return stream
    opened = os.open(os.devnull, os.O_RDWR)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)
    return os.fdopen(number, "r" if number == 0 else "w", closefd=False, encoding="utf-8")


def _shell_cwd(pwd: str | None, fallback: Path) -> Path:
    """The shell's idea of where we are: dfx changes the directory and leaves PWD alone."""
    return Path(pwd) if pwd and Path(pwd).is_absolute() and Path(pwd).is_dir() else fallback
