"""`main`: argv in, exit code out."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import typer
from typer.core import TyperGroup

from dfx_backup.cli import context, crash, output, parent, version
from dfx_backup.cli.output import Report
from dfx_backup.cli.session import Connector, Session
from dfx_backup.cli.tree import HELP_OPTIONS, tree
from dfx_backup.errors import BackupError, IncompleteError, InterruptedRunError, UsageError
from dfx_backup.operations.interrupts import SIGNALS


def main(
    argv: list[str],
    *,
    surroundings: context.Surroundings | None = None,
    connector: Connector | None = None,
) -> int:
    """Run one command line and return its exit code.

    Args:
        argv: the arguments after the program's name; dfx's trailing pair may stand at the end.
        surroundings: what is around the process; read from it when not given.
        connector: what reaches canisters; the real one when not given.
    """
    argv, cache_path = parent.split_cache_path(argv)
    session = Session(
        surroundings=surroundings or context.read_surroundings(argv, cache_path),
        connector=connector,
    )
    answer = _Answer(session, argv)
    with _signals_as_interrupt(), session.exits:
        try:
            return answer.give(_invoke(argv, session))
        except BackupError as error:
            return answer.fail(output.causes(error))
        except KeyboardInterrupt as error:
            return answer.fail(output.causes(error) or (InterruptedRunError("Interrupted"),))
        except Exception as error:  # noqa: BLE001 - the last stop: a bug becomes exit code 1
            return answer.fail((crash.report(error, session),))


class _Answer:
    """Tells the outcome, as text or as the envelope, and returns the exit code."""

    def __init__(self, session: Session, argv: list[str]) -> None:
        self._session = session
        self._argv = argv
        self._json = "--json" in argv

    def give(self, report: Report | None) -> int:
        """Tell a result; None means that help or the version was all that was asked for."""
        if report is None:
            return 0
        self._close_view()
        if self._json:
            return self._envelope(report)
        lost = self._print(report.lines)
        if self._session.view is not None:
            for warning in report.warnings:
                self._session.view.warn(warning)
        if not report.errors_in_lines:
            self._tell_errors(report.errors)
        self._tell_errors(lost)
        return output.exit_code((*report.errors, *lost))

    def fail(self, errors: tuple[BackupError, ...]) -> int:
        """Tell that there is no result, and why."""
        self._close_view()
        if self._json:
            return self._envelope(Report(data={}, lines=(), errors=errors))
        self._tell_errors(errors)
        return output.exit_code(errors)

    def _envelope(self, report: Report) -> int:
        told = self._session.view.warnings if self._session.view else ()
        envelope = output.envelope(
            " ".join(_command_words(self._argv)[0]) or None,
            data=report.data,
            errors=report.errors,
            warnings=(*told, *report.warnings),
        )
        lost = self._print((envelope,))
        self._tell_errors(lost)
        return output.exit_code((*report.errors, *lost))

    def _print(self, lines: tuple[str, ...]) -> tuple[BackupError, ...]:
        """Write the result; that nobody reads it is fine, that it is lost on the way is not."""
        failure = output.write(self._session.surroundings.stdout, lines)
        if failure is None or isinstance(failure, BrokenPipeError):
            return ()
        lost = IncompleteError(
            f"The result could not be written to stdout: {failure.strerror}",
            hint="The command itself ended before that; look at what it did before you repeat it.",
        )
        return (lost,)

    def _tell_errors(self, errors: tuple[BackupError, ...]) -> None:
        for error in errors:
            output.write(self._session.surroundings.stderr, list(output.error_lines(error)))

    def _close_view(self) -> None:
        if self._session.view is not None:
            self._session.view.pause()


def _invoke(argv: list[str], session: Session) -> Report | None:
    """Parse and run; what `Typer.__call__` does, without its handling of interrupts and pipes."""
    if version.is_asked(argv):
        return version.report(session.surroundings)
    try:
        report = _run(argv, session)
        return report if isinstance(report, Report) else None
    except typer.Exit:
        return None
    except typer.TyperException as error:
        raise UsageError(error.format_message().rstrip("."), hint=_hint(argv, session)) from error
    except BrokenPipeError:
        if session.view is not None:
            raise
        output.switch_off(session.surroundings.stdout)  # help, with nobody reading
        return None


def _hint(argv: list[str], session: Session) -> str:
    """Where to read on; an option before the last word of a command is a frequent slip."""
    words, is_whole = _command_words(argv)
    early = not is_whole and any(word.startswith("-") for word in argv[len(words) :])
    order = "Options stand behind the whole command. " if early else ""
    return f"{order}See `{' '.join((session.surroundings.program, *words))} --help`."


def _run(argv: list[str], session: Session) -> object:
    """Go down the tree by hand and let Typer parse the last command's own words.

    The groups above have no options, and Typer loads 0.1 s of libraries to find that out.
    """
    command = tree(argv)
    name, above = session.surroundings.program, None
    words, _ = _command_words(argv)
    for word in words:
        assert isinstance(command, TyperGroup)  # or it would have no word below it
        above = typer.Context(
            command, info_name=name, parent=above, obj=session, help_option_names=HELP_OPTIONS
        )
        name, command = word, command.commands[word]
    rest = argv[len(words) :]
    with command.make_context(
        name, rest, parent=above, obj=session, help_option_names=HELP_OPTIONS
    ) as opened:
        report: object = opened.command.invoke(opened)
        return report


def _command_words(argv: list[str]) -> tuple[list[str], bool]:
    """The command that a line names, however wrong the rest of it is.

    Returns:
        Its words, none at all when the line names no command; and whether they are a whole
        command, not only a group.
    """
    here = tree(argv)
    words: list[str] = []
    for word in argv:
        if not isinstance(here, TyperGroup) or word not in here.commands:
            break
        here = here.commands[word]
        words.append(word)
    return words, not isinstance(here, TyperGroup)


@contextmanager
def _signals_as_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP end the run the way Ctrl-C does, so that clean-up runs.

    The first signal decides; later ones must not break off the clean-up and the answer. One that
    is ignored stays so: `nohup` must work. Only the main thread may set signal handlers; in
    another one this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupted = False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal interrupted
        if not interrupted:
            interrupted = True
            raise KeyboardInterrupt

    former = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        for number, handler in former.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, interrupt)
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
