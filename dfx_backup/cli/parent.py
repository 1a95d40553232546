"""What dfx did not pass on: where the user stood, and the options that dfx kept for itself.

dfx starts an extension in the project's root and appends `--dfx-cache-path PATH` to its arguments.
Options typed before the subcommand (`dfx --identity alice backup …`) never arrive. dfx itself
stays where the user typed the command, so on Linux `/proc` tells both.
"""

from dataclasses import dataclass
from pathlib import Path

CACHE_OPTION = "--dfx-cache-path"
_GENERATIONS = 4
"""A launcher script may stand between dfx and us; more than a few ancestors are somebody else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ancestor:
    """A process above ours.

    Attributes:
        argv: its command line.
        cwd: its working directory.
    """

    argv: tuple[str, ...]
    cwd: str


def split_cache_path(argv: list[str]) -> tuple[list[str], str | None]:
    """Take dfx's trailing pair off the arguments; it is last even after a user's `--`."""
    if len(argv) >= 2 and argv[-2] == CACHE_OPTION:
        return argv[:-2], argv[-1]
    return argv, None


def find_dfx(pid: int, *, proc: Path) -> Ancestor | None:
    """Climb from process `pid` to the dfx that started us; None when it can't be found.

    Args:
        pid: our parent's process id.
        proc: where the proc file system is mounted.
    """
    for _ in range(_GENERATIONS):
        if pid <= 1:
            return None
        here = proc / str(pid)
        try:
            argv = tuple(
                _decode(part) for part in (here / "cmdline").read_bytes().split(b"\0")[:-1]
            )
            if _is_dfx(argv):
                return Ancestor(argv=argv, cwd=str((here / "cwd").readlink()))
            pid = _parent_of((here / "stat").read_bytes())
        except (OSError, ValueError, IndexError):
            return None
    return None


def swallowed_identity(dfx: Ancestor, argv: list[str]) -> str | None:
    """The identity that was typed before our subcommand, which dfx took for itself.

    Args:
        dfx: the process that started us.
        argv: our own arguments as dfx passed them, without its trailing pair.
    """
    kept = list(dfx.argv)
    if argv and kept[-len(argv) :] == argv:
        kept = kept[: -len(argv)]
    found = None
    for index, word in enumerate(kept):
        if word == "--identity" and index + 1 < len(kept):
            found = kept[index + 1]
        elif word.startswith("--identity="):
            found = word.partition("=")[2]
    return found


def _is_dfx(argv: tuple[str, ...]) -> bool:
    """Dfx itself, or a script of that name run by its interpreter."""
    return any(Path(word).name == "dfx" for word in argv[:2])


def _parent_of(stat: bytes) -> int:
    """The fourth field of `/proc/PID/stat`; the second, a name in brackets, may hold anything."""
    return int(stat.rpartition(b")")[2].split()[1])


def _decode(part: bytes) -> str:
    return part.decode("utf-8", "surrogateescape")
