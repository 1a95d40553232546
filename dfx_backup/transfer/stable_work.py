"""The files of an export while it runs: an earlier one stays whole until the new one is.

The bytes arrive in NAME.stable.part. When they are complete, the sidecar is written beside them,
the journal says so, and only then both get their names: whoever finds such a journal ends that.
"""

import contextlib
from collections.abc import Sequence
from typing import Self

from dfx_backup.errors import RefusedError
from dfx_backup.files import replace_file, sync_folder
from dfx_backup.transfer.resume import Journal
from dfx_backup.transfer.stable_sidecar import Sidecar, StablePaths, StreamIdentity

_COMMIT = "commit"


class ExportWork:
    """The files of one export, locked; see `open`.

    Attributes:
        paths: the files.
        stream: name of the stream.
        previous: what the earlier export's sidecar tells, or None.
        resumed: numbers of the chunks that an interrupted run has finished.
    """

    def __init__(
        self,
        paths: StablePaths,
        stream: str,
        journal: Journal,
        previous: Sidecar | None,
        resumed: Sequence[int],
    ) -> None:
        self.paths = paths
        self.stream = stream
        self.previous = previous
        self.resumed = resumed
        self._journal = journal

    @classmethod
    def open(cls, paths: StablePaths, what: StreamIdentity, chunk_size: int) -> Self:
        """Lock the files and find out what is there.

        Raises:
            LockedError: another process works with them.
            RefusedError: they hold something else.
            DamageError: the earlier sidecar can't be understood.
            ProjectError: they can't be used.
            OSError: the same.
        """
        paths.base.parent.mkdir(parents=True, exist_ok=True)
        journal = Journal.open(paths.journal)
        try:
            if {_COMMIT: True} in journal.lines:
                _name(paths)
                journal.begin({})
                journal.lines = ()
            previous = check_previous(paths, what)
            resumed = _resumed(paths, journal, what, chunk_size)
            return cls(paths, what.stream, journal, previous, resumed)
        except BaseException:
            journal.close()
            raise

    def note(self, indexes: Sequence[int]) -> None:
        """These chunks are in the file. Threads may do so at the same time."""
        self._journal.add(list(indexes))

    def sync(self) -> None:
        """Force the journal to the disk."""
        self._journal.sync()

    def commit(self, sidecar: Sidecar) -> None:
        """Give both files their names; the bytes are on the disk already."""
        replace_file(self.paths.new_sidecar, sidecar.to_json())
        self._journal.add({_COMMIT: True}, sync=True)
        _name(self.paths)
        self._journal.remove()

    def close(self) -> None:
        """Let others have the files."""
        self._journal.close()


def check_previous(paths: StablePaths, what: StreamIdentity) -> Sidecar | None:
    """What an earlier export tells, or None when there is none.

    Raises:
        RefusedError: the files hold something else.
        DamageError: the sidecar can't be understood.
    """
    previous = Sidecar.read(paths.sidecar)
    if previous is None:
        if paths.data.exists():
            raise RefusedError(
                f"{paths.data} is there, and {paths.sidecar.name} is not: it may be anything",
                hint="name other files with --file, or move it away",
            )
        return None
    found = previous.identity
    if found != what:
        raise RefusedError(
            f"{paths.data} is a copy of {found.stream} of {found.canister_id}, not of"
            f" {what.stream} of {what.canister_id} on this network",
            hint="name other files with --file",
        )
    return previous


def _resumed(
    paths: StablePaths, journal: Journal, what: StreamIdentity, chunk_size: int
) -> Sequence[int]:
    """Chunks that an interrupted run has finished; afterwards the journal speaks of this run."""
    about = {
        "network_id": what.network_id,
        "canister_id": what.canister_id,
        "stream": what.stream,
        "protocol": what.protocol,
    }
    header = {"about": about, "chunk_size": chunk_size}
    if journal.header and journal.header.get("about") != about:
        raise RefusedError(
            f"{paths.part} is an interrupted export of something else",
            hint=f"name other files with --file, or remove {paths.journal} to give it up",
        )
    if journal.header == header and paths.part.exists():
        found = (each for each in journal.lines if isinstance(each, list))
        return sorted({index for each in found for index in each if isinstance(index, int)})
    paths.part.unlink(missing_ok=True)
    paths.new_sidecar.unlink(missing_ok=True)
    journal.begin(header)
    return ()


def _name(paths: StablePaths) -> None:
    """Give what is complete its names, as far as that has not been done."""
    for new, name in ((paths.part, paths.data), (paths.new_sidecar, paths.sidecar)):
        with contextlib.suppress(FileNotFoundError):
            new.replace(name)
    sync_folder(paths.base.parent)
