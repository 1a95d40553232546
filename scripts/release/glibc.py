"""Which glibc compiled files need, out of the versions of the symbols that they ask for."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

_VERSION = re.compile(rb"\bGLIBC_(\d+)\.(\d+)")


def needed(folder: Path) -> tuple[int, int]:
    """The newest version that any file below a folder needs; (0, 0) when none needs any.

    Needs `objdump`, as PyInstaller does.
    """
    return max((_needed_by(path) for path in _compiled(folder)), default=(0, 0))


def _compiled(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as content:
                if content.read(4) == b"\x7fELF":
                    yield path


def _needed_by(path: Path) -> tuple[int, int]:
    told = subprocess.run(["objdump", "-p", str(path)], capture_output=True, check=True).stdout
    _, _, references = told.partition(b"Version References:")
    return max(((int(a), int(b)) for a, b in _VERSION.findall(references)), default=(0, 0))
