"""Read under a shared lock, so that nobody's prune takes away what is being read."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from dfx_backup.errors import DamageError
from dfx_backup.progress import Progress
from dfx_backup.repository.repository import Repository
from dfx_backup.repository.store import StoreError


@contextmanager
def reading(repository: Repository, progress: Progress, *, wait_s: float = 0.0) -> Iterator[None]:
    """Hold a shared lock inside the block, and know what others wrote and pruned before it.

    A store that can't be written (read-only medium or credentials, full disk) is read without a
    lock, as restic's `--no-lock` does: that is said, since a prune at the same time could then take
    away what is being read. Nothing wrong is read in that case either, but an object is missing.

    Args:
        repository: an open one.
        progress: hears of stale locks that are removed, of waiting, and of reading without a lock.
        wait_s: seconds to wait for somebody who works alone.

    Raises:
        LockedError: somebody works on the repository alone.
        StoreError: the store can't be listed.
    """
    with ExitStack() as stack:
        refused = None
        try:
            stack.enter_context(repository.lock(exclusive=False, progress=progress, wait_s=wait_s))
        except StoreError as error:
            refused = error
        with suppress(DamageError):  # whoever needs the index is told
            repository.reload_index()
        if refused is not None:
            progress.warn(
                f"The repository is read without a lock ({refused.message}): a prune at the same"
                " time could take away what is being read."
            )
        yield
