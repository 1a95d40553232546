"""Steps and warnings on stderr: one plain line a step, or a spinner on a terminal."""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import IO, TYPE_CHECKING, TextIO, cast

from dfx_backup.cli import output, text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status


class ProgressView:
    """Tells what an operation does, and keeps its warnings for the result.

    Args:
        stream: where steps and warnings go.
        quiet: steps are not told; warnings are.
        warnings_aloud: warnings are told at once; with JSON output they stand in the envelope.
    """

    progress_every_s = 10.0
    """Seconds between two lines on how far a step is."""

    def __init__(self, stream: TextIO, *, quiet: bool, warnings_aloud: bool) -> None:
        self._stream = stream
        self._quiet = quiet
        self._warnings_aloud = warnings_aloud
        self.warnings: list[str] = []

    def step(self, text_: str) -> None:
        """Tell that a new step begins."""
        if not self._quiet:
            self.show_step(text.clean(text_))

    def warn(self, text_: str) -> None:
        """Tell a warning once, however often it comes."""
        if text_ in self.warnings:
            return
        self.warnings.append(text_)
        if self._warnings_aloud:
            self.show_warning(text.clean(text_))

    def show_step(self, line: str) -> None:
        """Write one line for the step."""
        output.write(self._stream, [f"{line} ..."])

    def show_warning(self, line: str) -> None:
        """Write one line for the warning."""
        output.write(self._stream, [f"Warning: {line}"])

    def progress(self, line: str) -> None:
        """Tell how far the step is."""
        if not self._quiet:
            self.show_progress(text.clean(line))

    def show_progress(self, line: str) -> None:
        """Write one line on how far it is."""
        output.write(self._stream, [f"  {line}"])

    def pause(self) -> None:
        """Leave the terminal alone: a question or the result comes next."""


class TerminalView(ProgressView):
    """A spinner beside the step that runs; steps that are done stay as plain lines.

    Rich is loaded with the first step: many commands have none.
    """

    progress_every_s = 0.2

    def __init__(self, stream: TextIO, *, quiet: bool, warnings_aloud: bool, colour: bool) -> None:
        super().__init__(stream, quiet=quiet, warnings_aloud=warnings_aloud)
        self._colour = colour
        self._console: Console | None = None
        self._running = ExitStack()
        self._current: str | None = None
        self._status: Status | None = None

    def show_step(self, line: str) -> None:
        """Finish the step before and spin for this one."""
        console = self._open()
        self.pause()
        self._current = line
        self._status = console.status(line.replace("[", r"\["), spinner="line")
        self._running.enter_context(self._status)

    def show_progress(self, line: str) -> None:
        """Let the spinner's own line tell it."""
        if self._status is not None and self._current is not None:
            self._status.update(f"{self._current}: {line}".replace("[", r"\["))

    def show_warning(self, line: str) -> None:
        """Write the warning above the spinner."""
        if self._console is None:
            super().show_warning(line)
        else:
            self._console.print(f"Warning: {line}", markup=False, highlight=False, soft_wrap=True)

    def pause(self) -> None:
        """Stop the spinner and leave its step as a line."""
        self._running.close()
        if self._current is not None:
            output.write(self._stream, [self._current])
            self._current = None

    def _open(self) -> "Console":
        if self._console is None:
            from rich.console import Console

            self._console = Console(
                file=cast("IO[str]", _Unfailing(self._stream)),
                no_color=not self._colour,
                highlight=False,
                stderr=True,
            )
        return self._console


class _Unfailing:
    """The terminal as Rich sees it: when it goes away, the spinner must not end the run."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = stream.encoding
        self.fileno = stream.fileno
        self.isatty = stream.isatty

    def write(self, text_: str) -> int:
        """Write to the terminal, if it is there."""
        try:
            return self._stream.write(text_)
        except OSError:
            self._switch_off()
            return len(text_)

    def flush(self) -> None:
        """Flush the terminal, if it is there."""
        try:
            self._stream.flush()
        except OSError:
            self._switch_off()

    def _switch_off(self) -> None:
        with suppress(OSError):
            output.switch_off(self._stream)


def make_view(
    stream: TextIO,
    *,
    environment: Callable[[str], str | None],
    quiet: bool,
    warnings_aloud: bool,
    on_terminal: bool,
) -> ProgressView:
    """The view that suits the terminal, or the plain one.

    Args:
        stream: stderr.
        environment: looks up one variable; NO_COLOR and TERM decide here.
        quiet: hide steps.
        warnings_aloud: tell warnings at once.
        on_terminal: the stream is a terminal.
    """
    if not on_terminal or quiet or environment("TERM") in (None, "", "dumb"):
        return ProgressView(stream, quiet=quiet, warnings_aloud=warnings_aloud)
    return TerminalView(
        stream, quiet=quiet, warnings_aloud=warnings_aloud, colour=not environment("NO_COLOR")
    )
