"""One question before something is lost."""

from contextlib import suppress

from dfx_backup.cli import output, text
from dfx_backup.cli.context import Surroundings
from dfx_backup.errors import RefusedError


def confirm(
    surroundings: Surroundings,
    *,
    losses: tuple[str, ...],
    question: str,
    notes: tuple[str, ...] = (),
) -> None:
    """Ask on the terminal, after telling what will be lost.

    Args:
        surroundings: the terminal.
        losses: full sentences that name what will be lost.
        question: what is asked, without a question mark.
        notes: what else to think of before the answer.

    Raises:
        RefusedError: the answer was not yes, or there is no terminal to ask on.
    """
    if not surroundings.can_ask:
        raise RefusedError(
            f"{question}? There is no terminal to ask on. {' '.join(losses)}".strip(),
            hint="Repeat the command with `--yes` when this is what you want.",
        )
    stream = surroundings.stderr
    output.write(stream, [text.clean(line) for line in (*losses, *notes)])
    output.write(stream, [f"{text.clean(question)}? [y/N] "], end="")
    answer = ""
    try:
        with suppress(OSError, UnicodeDecodeError):  # the terminal went away, or sent no text
            answer = surroundings.stdin.readline()
    finally:
        if not answer.endswith("\n"):  # Ctrl-C or Ctrl-D: what comes next begins a line
            output.write(stream, [""])
    if answer.strip().lower() not in {"y", "yes"}:
        raise RefusedError("Nothing was done: the answer was not yes")
