"""Small private files that must survive a power cut: written whole or not at all."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from dfx_backup.errors import DamageError, ProjectError
from dfx_backup.files import Fields, replace_file, sync_folder

__all__ = [
    "Fields",
    "damaged",
    "private_folder",
    "read_versioned",
    "remove",
    "unusable",
    "write_whole",
]

T = TypeVar("T")

_HINT = (
    "check with the tool of your choice that the canister named by the file runs,"
    " then remove the file"
)


def private_folder(path: Path) -> Path:
    """Make the folder and its parents, readable by the user alone.

    Raises:
        ProjectError: the folder can't be made.
    """
    try:
        # Outermost first: `parents=True` would leave those above with the usual rights.
        for folder in (*reversed(path.parents), path):
            if not folder.exists():
                folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise unusable(path, error) from error
    return path


def write_whole(path: Path, content: Mapping[str, object]) -> None:
    """Replace the file by `content` as JSON; afterwards it is on the disk.

    One temporary name a file is enough: the caller holds the canister's lock.

    Raises:
        ProjectError: the file can't be written.
    """
    folder = private_folder(path.parent)
    data = (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()
    try:
        replace_file(folder / path.name, data)
    except OSError as error:
        raise unusable(path, error) from error


def remove(path: Path) -> None:
    """Remove the file, if it is there; afterwards the disk knows.

    Raises:
        ProjectError: the file can't be removed.
    """
    try:
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            sync_folder(path.parent)
    except OSError as error:
        raise unusable(path, error) from error


def read_versioned(
    path: Path, *, kind: str, version: int, parse: Callable[["Fields"], T]
) -> T | None:
    """Read a file that `write_whole` wrote; None when there is none.

    Args:
        path: the file.
        kind: what its field `format` must say.
        version: the newest `version` that we understand.
        parse: makes the value; complaints of `Fields` pass through.

    Raises:
        DamageError: the file is not what was written; names it.
        ProjectError: it can't be read, or a newer program wrote it; names it.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unusable(path, error) from error
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise damaged(path, "it is no JSON") from error
    fields = Fields(path, content, hint=_HINT)
    if fields.text("format") != kind:
        raise damaged(path, f"its format is not `{kind}`")
    found = fields.whole("version")
    if found > version:
        raise ProjectError(
            f"{path} was written by a newer version of this program"
            f" (format {found}; this one knows {version})",
            hint="use the newer version to finish that run",
        )
    return parse(fields)


def damaged(path: Path, reason: str) -> DamageError:
    """The error for a file of ours that is not what we wrote."""
    return DamageError(f"{path} can't be understood: {reason}", hint=_HINT)


def unusable(path: Path, error: OSError) -> ProjectError:
    """The error for a file or folder of ours that the system does not let us use."""
    return ProjectError(
        f"{path} can't be used: {error.strerror or error}",
        hint="the state directory must be writable; XDG_STATE_HOME moves it",
    )
