"""From the words of a command line to the way to a repository, its password included."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dfx_backup.cli.passwords import read_password
from dfx_backup.cli.repository_options import REPOSITORY_VARIABLE, RepositoryChoice
from dfx_backup.cli.session import Run
from dfx_backup.errors import ToolError, UsageError, WrongKeyError
from dfx_backup.operations.repository_access import Access, choose_location
from dfx_backup.project.settings import find_settings
from dfx_backup.repository.machine import Machine
from dfx_backup.repository.reading import reading
from dfx_backup.repository.repository import Repository

FILE_VARIABLE = "DFX_BACKUP_PASSWORD_FILE"
_COMMAND_TIMEOUT_S = 300.0
"""Long enough for somebody to unlock a password manager."""


def access(run: Run, choice: RepositoryChoice) -> Access:
    """The way to the repository that is meant: option, environment, dfx-backup.toml.

    Raises:
        NoRepositoryError: nothing names one.
        UsageError: what is named can't be read.
        ProjectError: dfx-backup.toml is bad.
    """
    around = run.surroundings
    settings = find_settings(around.cwd)
    location = choose_location(
        choice.repo,
        around.variable(REPOSITORY_VARIABLE),
        settings.repository,
        cwd=around.cwd,
        settings_folder=None if settings.file is None else settings.file.parent,
    )
    return Access(
        location=location,
        machine=machine(run),
        password=RepositoryPassword(run, choice.password_file, choice.password_command),
        progress=run.view,
        environment=around.environment,
    )


@contextmanager
def opened(run: Run, choice: RepositoryChoice) -> Iterator[Repository]:
    """The repository that is meant, open for reading under a shared lock.

    Raises:
        LockedError: somebody works on it alone.
        BackupError: as `access` and `Access.open` tell.
    """
    repository = access(run, choice).open()
    with reading(repository, run.view):
        yield repository


def machine(run: Run) -> Machine:
    """Who works on the repository."""
    around = run.surroundings
    return Machine(
        hostname=around.hostname,
        username=around.username,
        pid=around.process_id,
        uid=around.user_id,
        gid=around.group_id,
        clock=around.clock.now,
        monotonic=around.clock.monotonic,
        sleep=around.clock.sleep,
        random=around.random,
    )


class RepositoryPassword:
    """Gives a repository's password: a file, a command, the environment's file, or a question.

    Args:
        run: the command's run.
        file: the option that names a file.
        command: the option that names a program.
        prefix: what the two options begin with, for messages.
        variable: the environment variable that names a file; None when none does.
    """

    def __init__(
        self,
        run: Run,
        file: str | None,
        command: str | None,
        *,
        prefix: str = "--",
        variable: str | None = FILE_VARIABLE,
    ) -> None:
        if file is not None and command is not None:
            raise UsageError(f"{prefix}password-file and {prefix}password-command exclude another")
        self._run = run
        self._file = file
        self._command = command
        self._prefix = prefix
        self._variable = variable

    def __repr__(self) -> str:
        return "RepositoryPassword(***)"

    def __call__(self, what: str, *, new: bool) -> str:
        """The password.

        Raises:
            ProjectError: the file can't be read, or is empty.
            ToolError: the program fails, or prints nothing.
            WrongKeyError: there is nothing to take it from, or two answers differ.
        """
        password = self._find(what, new=new)
        self._run.session.secrets.append(password)
        return password

    def _find(self, what: str, *, new: bool) -> str:
        around = self._run.surroundings
        if self._command is not None:
            return self._of_command(self._command)
        variable = around.variable(self._variable) if self._variable else None
        file = self._file or variable
        if file is not None:
            return read_password(around.path(file))
        return self._ask(what, new=new)

    def _of_command(self, command: str) -> str:
        from dfx_backup.drivers.environment import require
        from dfx_backup.drivers.process import ProgramFailedError
        from dfx_backup.drivers.process import run as run_program

        option = f"{self._prefix}password-command"
        around = self._run.surroundings
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise UsageError(f"{option} can't be parted into words: {error}") from None
        if not words:
            raise UsageError(f"{option} names no program")
        program = require(
            words[0] if "/" not in words[0] else str(around.path(words[0])),
            path=around.environment.get("PATH", ""),
            hint=f"Name a program with {option}.",
        )
        try:
            # Password managers find their sockets and tokens in variables that nobody can list;
            # the program is the user's own, so it gets the user's own environment.
            done = run_program(
                [program, *words[1:]],
                env=around.environment,
                timeout_s=_COMMAND_TIMEOUT_S,
                cwd=str(around.cwd),
                secrets=words[1:],
            ).check()
        except ProgramFailedError as error:
            raise ToolError(
                f"the program of {option} failed: {Path(program).name}"
                + (f" ended with exit code {error.status}" if error.status is not None else ""),
                hint="Run it by itself to see why.",
            ) from None
        password = done.stdout.partition("\n")[0].rstrip("\r")
        if not password:
            raise ToolError(f"the program of {option} printed no password: {Path(program).name}")
        return password

    def _ask(self, what: str, *, new: bool) -> str:
        around = self._run.surroundings
        if not around.can_ask:
            raise WrongKeyError(
                f"the password of {what} is needed, and there is no terminal to ask for it on",
                hint=f"Give it with `{self._prefix}password-file FILE` or"
                f" `{self._prefix}password-command COMMAND`.",
            )
        self._run.view.pause()
        first = around.ask_password(f"{'New password' if new else 'Password'} of {what}: ")
        if not first:
            raise WrongKeyError("an empty password opens nothing")
        if new and around.ask_password("The same again: ") != first:
            raise WrongKeyError("the two passwords differ; nothing was done")
        return first


def new_password(run: Run, file: str | None, command: str | None) -> RepositoryPassword:
    """What gives the password of a new key."""
    return RepositoryPassword(run, file, command, prefix="--new-", variable=None)
