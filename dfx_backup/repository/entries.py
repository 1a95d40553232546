"""What was entered into a file's table of ids, added up apart from the table.

A page whose id gets lost would be stored as zeros, under a manifest that agrees. So whoever enters
pages adds them up on the way, and the sum over the table must be the same. Two more numbers for
every part tell whether the parts cover the file: each byte once, without a gap.
"""

import struct
import threading
from collections.abc import Container

from dfx_backup.errors import DamageError
from dfx_backup.repository.contents import ContentTable

_OFFSET = struct.Struct("Q")
_HINT = "nothing was committed; run it again, and report it: this is a fault of the program"


class Entries:
    """Adds up what threads enter; each adds its own part at once.

    Args:
        name: of the file, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._total = 0
        self._edges = 0

    def add(self, total: int) -> None:
        """Pages were entered.

        Args:
            total: the sum of `contents.weight` over them, pages of zeros left out; less that of
                the pages in whose place they are.
        """
        with self._lock:
            self._total += total

    def cover(self, begin: int, end: int) -> None:
        """These bytes were brought, or are known to be zeros."""
        # Where one part ends, exactly one other must begin: then all but the outer edges cancel.
        edges = _edge(begin) - _edge(end)
        with self._lock:
            self._edges += edges

    def check(self, content: ContentTable, zeros: Container[bytes]) -> None:
        """Compare the sum with that over the table.

        Args:
            content: the ids; nobody may set any meanwhile.
            zeros: ids of pages of zeros.

        Raises:
            DamageError: a page was lost, or is where another one belongs.
        """
        if content.tally(zeros) != self._total:
            raise DamageError(
                f"pages of {self._name} were lost or mixed up on their way into the repository",
                hint=_HINT,
            )

    def check_cover(self, size: int) -> None:
        """Refuse a file that was not brought whole.

        Raises:
            DamageError: not every byte came exactly once.
        """
        if self._edges != _edge(0) - _edge(size):
            raise DamageError(
                f"not every part of {self._name} was brought exactly once", hint=_HINT
            )


def _edge(offset: int) -> int:
    return hash(_OFFSET.pack(offset))
