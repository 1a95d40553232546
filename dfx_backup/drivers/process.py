"""The only module that starts programs.

A program is started from an argument list, never through a shell, in a session of its own: a
Ctrl-C at our terminal, or a signal to our process group, must not kill dfx between stop and
start. Its standard input is empty, or a pseudo-terminal when it may ask a question. Both output
pipes are drained together, so that no amount of output can block it, and it always has a
time-out: terminate its whole session, then kill.

An exit code is not judged here: `Finished.check` does it for callers that know of none but 0.
"""

import contextlib
import logging
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from dfx_backup.drivers.environment import SECRET_VARIABLES
from dfx_backup.drivers.terminal import AskedAgain, Mask, Question, Tail, Terminal, without_escapes
from dfx_backup.errors import ToolError

_log = logging.getLogger(__name__)

TAIL_LINES = 25
"""Lines of standard error that an error carries."""

_POLL_S = 0.05  # how often an exit is looked for while a grandchild holds the pipes open
_LINGER_S = 0.5  # how long pipes are read after the exit of the program itself


class ProgramFailedError(ToolError):
    """A program ended badly.

    Attributes:
        argv: how it was started, secrets masked.
        status: its exit code, negative for the signal that killed it, None after a time-out.
        stderr_tail: its last lines of standard error, secrets masked.
    """

    def __init__(
        self,
        message: str,
        *,
        argv: Sequence[str],
        status: int | None,
        stderr_tail: Sequence[str],
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.argv = tuple(argv)
        self.status = status
        self.stderr_tail = tuple(stderr_tail)


class ProgramTimedOutError(ProgramFailedError):
    """A program did not end in time and was killed: what it did is not known."""


class AskedAgainError(ProgramFailedError):
    """A program put its question a second time: it did not accept the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A program that ended.

    Attributes:
        argv: how it was started, secrets masked.
        code: its exit code, negative for the signal that killed it.
        stdout: its standard output; bytes that are not UTF-8 are replaced.
        stderr: its standard error, with the terminal's escape sequences taken out.
    """

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str

    @property
    def text(self) -> str:
        """Both streams: tools move a line from one to the other between versions."""
        return f"{self.stdout}\n{self.stderr}"

    @property
    def stderr_tail(self) -> tuple[str, ...]:
        """The last lines of standard error."""
        return tuple(self.stderr.splitlines()[-TAIL_LINES:])

    def failed(self, message: str, *, hint: str | None = None) -> ProgramFailedError:
        """The error for it, `message` first and then how it ended."""
        how = f"signal {-self.code}" if self.code < 0 else f"exit code {self.code}"
        return ProgramFailedError(
            _with_tail(f"{message}: `{' '.join(self.argv)}` ended with {how}", self.stderr_tail),
            argv=self.argv,
            status=self.code,
            stderr_tail=self.stderr_tail,
            hint=hint,
        )

    def check(self) -> "Finished":
        """Return itself after exit code 0.

        Raises:
            ProgramFailedError: it ended otherwise.
        """
        if self.code != 0:
            raise self.failed(f"{Path(self.argv[0]).name} failed")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How a program is treated that must end.

    Attributes:
        grace_s: seconds from terminating it until it is killed.
        interrupt_s: seconds for which it may go on after we were interrupted, before it is
            terminated; a second interruption ends the wait.
    """

    grace_s: float = 5.0
    interrupt_s: float = 30.0


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    timeout_s: float,
    cwd: str | None = None,
    question: Question | None = None,
    secrets: Sequence[str] = (),
    patience: Patience | None = None,
) -> Finished:
    """Run a program to its end.

    Args:
        argv: the program's absolute path and its arguments.
        env: its whole environment (see `child_environment`).
        timeout_s: seconds until it is terminated.
        cwd: its working directory, ours when None.
        question: what it may ask; without one its standard input is empty.
        secrets: texts that no message may show; those in `env` are known.
        patience: how it is treated when it must end.

    Raises:
        ProgramTimedOutError: it did not end in time; it and its children are dead.
        AskedAgainError: it did not accept the answer to `question`.
        ToolError: it could not be started.
        KeyboardInterrupt: or whatever else a signal handler raises, after it ended.
    """
    mask = Mask([*secrets, *(env.get(name, "") for name in SECRET_VARIABLES)])
    _log.debug("run %s", mask.all(argv))
    running = _Running(argv=argv, env=env, cwd=cwd, question=question, mask=mask)
    finished = running.finish(timeout_s, patience or Patience())
    _log.debug("ended with code %d", finished.code)
    return finished


class _Running:
    """A child, what it printed so far, and how it is brought to its end."""

    def __init__(
        self,
        *,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str | None,
        question: Question | None,
        mask: Mask,
    ) -> None:
        self._argv = mask.all(argv)
        self._mask = mask
        self._out, self._err = Tail(), Tail()
        self._selector = selectors.DefaultSelector()
        self._terminal: Terminal | None = None
        self._open: list[int] = []
        stdin: int = subprocess.DEVNULL
        stderr: int = subprocess.PIPE
        if question is not None:
            master, slave = os.openpty()
            self._open = [master, slave]
            stdin = stderr = slave
            self._terminal = Terminal(master, question, self._err, mask)
        try:
            self._child = subprocess.Popen(  # noqa: S603 # an argument list, and never a shell
                list(argv),
                env=dict(env),
                cwd=cwd,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )
        except (OSError, ValueError) as err:
            self._close()
            raise ToolError(f"`{argv[0]}` could not be started: {mask.text(str(err))}") from err
        if self._terminal is not None:
            os.close(self._open.pop())
        self._watch()

    def _watch(self) -> None:
        stdout, stderr = self._child.stdout, self._child.stderr
        assert stdout is not None
        self._selector.register(stdout, selectors.EVENT_READ, lambda: _copy(stdout, self._out))
        if self._terminal is not None:
            self._selector.register(self._open[0], selectors.EVENT_READ, self._terminal.read)
        elif stderr is not None:
            self._selector.register(stderr, selectors.EVENT_READ, lambda: _copy(stderr, self._err))

    def finish(self, timeout_s: float, patience: Patience) -> Finished:
        try:
            return self._finish(timeout_s, patience)
        except AskedAgain:
            self._kill(patience)
            raise AskedAgainError(
                f"`{self._argv[0]}` did not accept the answer to its question",
                argv=self._argv,
                status=None,
                stderr_tail=self._finished().stderr_tail,
            ) from None
        finally:
            self._close()

    def _finish(self, timeout_s: float, patience: Patience) -> Finished:
        try:
            ended = self._pump(timeout_s)
        except AskedAgain:
            raise
        except BaseException:
            # A signal handler raised. The program is in a session of its own and knows nothing
            # of it; killed now, nobody could tell whether it stopped the canister.
            self._settle(patience)
            raise
        if ended:
            return self._finished()
        self._kill(patience)
        tail = self._finished().stderr_tail
        raise ProgramTimedOutError(
            _with_tail(f"`{' '.join(self._argv)}` did not end within {timeout_s:g} s", tail),
            argv=self._argv,
            status=None,
            stderr_tail=tail,
        )

    def _pump(self, seconds: float) -> bool:
        """Read until the child ended or the time is over; tell whether it ended."""
        deadline = time.monotonic() + seconds
        exited = False
        while self._selector.get_map():
            if not exited and self._child.poll() is not None:
                exited = True
                deadline = min(deadline, time.monotonic() + _LINGER_S)
            left = deadline - time.monotonic()
            if left <= 0:
                break
            for key, _ in self._selector.select(min(_POLL_S, left)):
                if not key.data():
                    self._selector.unregister(key.fileobj)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(max(0.0, deadline - time.monotonic()))
        return self._child.poll() is not None

    def _settle(self, patience: Patience) -> None:
        try:
            if self._terminal is None or self._terminal.settled:
                self._pump(patience.interrupt_s)
        finally:
            self._kill(patience)

    def _kill(self, patience: Patience) -> None:
        if self._terminal is not None:
            self._terminal.mute()
        if self._child.poll() is not None:
            return
        self._signal(signal.SIGTERM)
        self._pump(patience.grace_s)
        self._signal(signal.SIGKILL)  # also whatever it started and left behind
        self._pump(patience.grace_s)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, number)

    def _finished(self) -> Finished:
        code = self._child.poll()
        return Finished(
            argv=self._argv,
            code=-signal.SIGKILL if code is None else code,
            stdout=self._out.text(),
            stderr=self._mask.text(without_escapes(self._err.text())),
        )

    def _close(self) -> None:
        self._selector.close()
        for number in self._open:
            os.close(number)
        child = getattr(self, "_child", None)
        for stream in () if child is None else (child.stdout, child.stderr):
            if stream is not None:
                stream.close()


def _copy(stream: IO[bytes], sink: Tail) -> bool:
    """Move what is there; False at the end of the stream."""
    data = os.read(stream.fileno(), 65536)
    sink.write(data)
    return bool(data)


def _with_tail(message: str, tail: Sequence[str]) -> str:
    return "\n".join([message, *(f"  {line}" for line in tail)])
