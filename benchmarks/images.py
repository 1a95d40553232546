"""Images of stable memory: what they hold, how they get onto the replica, how a copy is checked.

An image is a number of 64-KiB pages of which some runs hold data and the others are zero. A page
of data is the same block of pseudo-random bytes with the page's number in front, so everybody can
compute any page of any image, and no two pages are alike.
"""

import hashlib
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

PAGE = 65_536
LONGEST_RUN = 64
_BLOCK = hashlib.shake_256(b"dfx-backup benchmarks").digest(PAGE)
_ZEROS = bytes(PAGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A stable memory.

    Attributes:
        name: for people and file names.
        pages: of 64 KiB, data and zeros together.
        runs: first page and number of pages of each run of data, rising.
    """

    name: str
    pages: int
    runs: tuple[tuple[int, int], ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return self.pages * PAGE


def full(mib: int) -> Image:
    """No page is zero."""
    pages = mib * 16
    return Image(name=f"full-{mib}", pages=pages, runs=((0, pages),))


def half_in_runs() -> Image:
    """Half of the pages are zero, in runs of 1 to 64 pages; each length occurs once. 260 MiB."""
    chance = random.Random(1)  # noqa: S311 # the same image every time
    data = list(range(1, LONGEST_RUN + 1))
    zeros = list(data)
    chance.shuffle(data)
    chance.shuffle(zeros)
    runs = []
    position = 0
    for filled, empty in zip(data, zeros, strict=True):
        runs.append((position, filled))
        position += filled + empty
    return Image(name="half-in-runs", pages=position, runs=tuple(runs))


def half_in_one() -> Image:
    """The second half of the pages is zero; as large as `half_in_runs`."""
    pages = half_in_runs().pages
    return Image(name="half-in-one", pages=pages, runs=((0, pages // 2),))


def sparse(gib: int) -> Image:
    """A page of data somewhere in every 64 MiB, and the last page; the rest is zero."""
    chance = random.Random(2)  # noqa: S311 # the same image every time
    pages = gib * 16_384
    runs = [(chance.randrange(first, first + 1023), 1) for first in range(0, pages, 1024)]
    return Image(name=f"sparse-{gib * 1024}", pages=pages, runs=(*runs, (pages - 1, 1)))


def page(number: int) -> bytes:
    """The content of a page of data."""
    return number.to_bytes(8, "little") + _BLOCK[8:]


def is_copy(path: Path, image: Image, content: Callable[[int], bytes] = page) -> bool:
    """Whether a file holds exactly this image; holes are not read.

    Args:
        path: the file.
        image: what it should hold.
        content: what is in a page of data, by its number.

    Raises:
        OSError: it can't be read.
    """
    wanted = {first + at for first, count in image.runs for at in range(count)}
    with path.open("rb", buffering=0) as file:
        if path.stat().st_size != image.size:
            return False
        for number in _pages_with_data(file.fileno(), image.size):
            found = os.pread(file.fileno(), PAGE, number * PAGE)
            if found != (content(number) if number in wanted else _ZEROS):
                return False
            wanted.discard(number)
    return not wanted


def _pages_with_data(handle: int, size: int) -> Iterator[int]:
    """Numbers of the pages that are no holes, rising."""
    position = 0
    while position < size:
        try:
            begin = max(position, os.lseek(handle, position, os.SEEK_DATA) // PAGE * PAGE)
        except OSError:  # nothing but a hole from here on
            return
        end = os.lseek(handle, begin, os.SEEK_HOLE)
        if end <= begin:
            end = begin + PAGE
        position = min(size, -(-end // PAGE) * PAGE)
        yield from range(begin // PAGE, position // PAGE)
