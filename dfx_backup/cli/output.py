"""A command's answer as text or as the one JSON envelope, and errors in both forms.

stdout carries the answer and nothing else; stderr everything else. The envelope is specified in
`docs/json-output.md`, the exit codes in `docs/exit-codes.md`.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TextIO, TypeAlias

from dfx_backup.cli import text
from dfx_backup.errors import (
    BackupError,
    CanisterDownError,
    IncompleteError,
    InterruptedRunError,
)

OUTPUT_VERSION = 1
"""Raised when a field changes its meaning or goes away; new fields do not raise it."""

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"
"""What `json.dumps` takes, tuples included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a command has to tell.

    Attributes:
        data: the fields of the envelope's `data`; bytes are ints, cycles decimal strings, times
            RFC 3339.
        lines: the same for people, without control characters.
        warnings: full sentences that belong to this result.
        errors: what went wrong although there is a result; decides the exit code.
        errors_in_lines: the lines tell the errors already, so stderr need not.
    """

    data: Mapping[str, Json]
    lines: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    errors: tuple[BackupError, ...] = ()
    errors_in_lines: bool = False


def exit_code(errors: Sequence[BackupError]) -> int:
    """The code of the process: a canister down, then an interrupt, then the first error, then 3."""
    for urgent in (CanisterDownError, InterruptedRunError):
        if any(isinstance(error, urgent) for error in errors):
            return urgent.exit_code
    graver = [error for error in errors if not isinstance(error, IncompleteError)]
    return next((error.exit_code for error in [*graver, *errors]), 0)


def causes(error: BaseException) -> tuple[BackupError, ...]:
    """The error, and what is graver in its history: a canister down, or the user's interrupt.

    An operation that was interrupted and then could not start its canister raises one error while
    it handles another; both must be told.
    """
    found = [error] if isinstance(error, BackupError) else []
    for earlier in _history(error):
        if isinstance(earlier, CanisterDownError | InterruptedRunError):
            found += [] if any(_is_in(earlier, later) for later in found) else [earlier]
    return tuple(sorted(found, key=_urgency))


def envelope(
    command: str | None,
    *,
    data: Mapping[str, Json],
    errors: Sequence[BackupError],
    warnings: Sequence[str],
) -> str:
    """The JSON envelope, as text without a final newline.

    Args:
        command: the words of the command, or None when the line does not name one.
        data: the command's own fields; empty when it failed.
        errors: what went wrong, the gravest first.
        warnings: what is told in `data.warnings`, in the order of its first telling.
    """
    code = exit_code(errors)
    told = [text.clean(warning) for warning in dict.fromkeys(warnings)]
    return json.dumps(
        {
            "output_version": OUTPUT_VERSION,
            "command": command,
            "status": _status(code, errors),
            "exit_code": code,
            "data": {**data, "warnings": told},
            "errors": [_error_fields(error) for error in errors],
        },
        indent=2,
    )


def error_lines(error: BackupError) -> Iterator[str]:
    """An error as a person reads it: what happened, then what to do."""
    yield f"Error: {text.sentence(error.message)}"
    if error.hint:
        yield f"Hint: {text.sentence(error.hint)}"


def write(stream: TextIO, lines: Sequence[str], *, end: str = "\n") -> OSError | None:
    """Write lines whatever the stream's encoding is; a stream that fails is no reason to stop.

    A canister may be held meanwhile, and its terminal or the log's disk may be gone.

    Returns:
        Why it failed, or None; such a stream is switched off, so that the interpreter does not
        complain about it at the end.
    """
    encoding = stream.encoding or "utf-8"
    whole = "".join(f"{line}{end}" for line in lines)
    try:
        stream.write(whole.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except OSError as error:
        with suppress(OSError):
            switch_off(stream)
        return error
    return None


def switch_off(stream: TextIO) -> None:
    """Let a stream that nobody reads any more lead nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    finally:
        os.close(nowhere)


def _status(code: int, errors: Sequence[BackupError]) -> str:
    if not errors:
        return "success"
    return "partial" if code == IncompleteError.exit_code else "error"


def _error_fields(error: BackupError) -> dict[str, Json]:
    return {
        "code": error.code,
        "message": text.sentence(error.message),
        "hint": text.sentence(error.hint) if error.hint else None,
    }


def _history(error: BaseException) -> Iterator[BaseException]:
    """Everything that led to the error, nearest first, members of groups included."""
    seen = {id(error)}
    queue = [error]
    while queue:
        current = queue.pop(0)
        nested = current.exceptions if isinstance(current, BaseExceptionGroup) else ()
        for earlier in (*nested, current.__cause__, current.__context__):
            if earlier is not None and id(earlier) not in seen:
                seen.add(id(earlier))
                queue.append(earlier)
                yield earlier


def _is_in(earlier: BackupError, later: BackupError) -> bool:
    """Whether the later error tells all of the earlier one."""
    hint = earlier.hint is None or earlier.hint in (later.hint or "")
    return hint and isinstance(later, type(earlier)) and earlier.message in later.message


def _urgency(error: BackupError) -> int:
    if isinstance(error, CanisterDownError):
        return 0
    return 1 if isinstance(error, InterruptedRunError) else 2
