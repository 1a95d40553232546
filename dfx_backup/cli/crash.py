"""What is left of an unexpected error: one line for the user, a traceback for whoever mends it."""

import os
import traceback
from pathlib import Path

from dfx_backup import __version__
from dfx_backup.cli import context, output, text
from dfx_backup.cli.session import Session
from dfx_backup.errors import BackupError

_HINT = "Please report it with the traceback."


def report(error: Exception, session: Session) -> BackupError:
    """Keep the traceback and return the error to tell; secrets that were read are masked.

    With `--verbose` the traceback goes to stderr, else into a file of the state directory, or to
    stderr when that can't be written.
    """
    if session.view is not None:
        session.view.pause()
    lines = _masked(traceback.format_exception(error), session)
    said = f"This is a bug in dfx-backup {__version__}: {lines[-1]}"
    if not session.verbose:
        try:
            path = _save(lines, session)
        except OSError:
            pass
        else:
            return BackupError(said, hint=f"{_HINT} It is in {path}")
    output.write(session.surroundings.stderr, lines)
    return BackupError(said, hint=_HINT)


def _masked(formatted: list[str], session: Session) -> list[str]:
    whole = "".join(formatted).rstrip("\n")
    for secret in session.secrets:
        whole = whole.replace(secret, "***")
    return text.clean(whole).split("\n")


def _save(lines: list[str], session: Session) -> Path:
    surroundings = session.surroundings
    folder = Path(context.find_places(surroundings).state) / "crashes"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    when = text.moment(int(surroundings.clock.now() * 10**9)).replace(":", "")
    path = folder / f"{when}-{surroundings.process_id}.txt"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    return path
