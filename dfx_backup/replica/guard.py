"""One message at a time, and none after one that could not be finished."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dfx_backup.replica.reject import Reject, ReplicaFailedError


class Guard:
    """The replica's lock.

    Attributes:
        lock: for those who only look.
        failure: why nothing runs any more; None while all is well.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.failure: ReplicaFailedError | None = None

    @contextmanager
    def working(self) -> Iterator[None]:
        """Hold the lock; when something else than a refusal comes out, nothing runs any more.

        Raises:
            ReplicaFailedError: now or earlier.
        """
        with self.lock:
            if self.failure is not None:
                raise self.failure
            try:
                yield
            except (Reject, ReplicaFailedError):
                raise
            except BaseException as error:
                self.failure = ReplicaFailedError(_describe(error))
                raise self.failure from error


def _describe(error: BaseException) -> str:
    if isinstance(error, OSError):
        return f"The replica's state can't be read or written: {error.strerror or error}"
    return f"The replica has a bug: {type(error).__name__}: {error}"
