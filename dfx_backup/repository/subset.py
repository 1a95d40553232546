"""Which packs a check reads, in the words of `--read-data-subset`."""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

from dfx_backup.errors import UsageError

_PART = re.compile(r"([1-9]\d{0,5})/([1-9]\d{0,5})")
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)%")
_BYTES = re.compile(r"([1-9]\d{0,9})([KMGT])")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@dataclass(frozen=True, slots=True, kw_only=True)
class PackSubset:
    """Some of the packs.

    Attributes:
        part: the n-th of t parts; together they are all packs, whenever they are read.
        percent: so many of them, by chance.
        size: so many bytes of them, by chance.
    """

    part: tuple[int, int] | None = None
    percent: float | None = None
    size: int | None = None

    @classmethod
    def parse(cls, text: str) -> "PackSubset":
        """Read `n/t`, `x%`, or `nK`, `nM`, `nG`, `nT`.

        Raises:
            UsageError: it is none of them.
        """
        if (found := _PART.fullmatch(text)) and int(found[1]) <= int(found[2]):
            return cls(part=(int(found[1]), int(found[2])))
        if (found := _PERCENT.fullmatch(text)) and 0 < float(found[1]) <= 100:
            return cls(percent=float(found[1]))
        if found := _BYTES.fullmatch(text):
            return cls(size=int(found[1]) * _UNITS[found[2]])
        raise UsageError(
            f"`{text}` is no part of the data",
            hint="Write 1/7 (the first of seven parts), 2.5% or 10G.",
        )

    def choose(self, packs: Mapping[str, int], seed: bytes) -> tuple[str, ...]:
        """The packs to read, rising; at least one, if there are any.

        Args:
            packs: size of each pack by hexadecimal id.
            seed: random bytes.
        """
        if self.part is not None:
            number, parts = self.part
            return tuple(each for each in sorted(packs) if int(each[:8], 16) % parts == number - 1)
        shuffled = sorted(packs)
        random.Random(seed).shuffle(shuffled)  # noqa: S311 - a sample, no secret
        if self.percent is not None:
            count = round(len(shuffled) * self.percent / 100)
            return tuple(sorted(shuffled[: max(count, 1)]))
        chosen, left = [], self.size or 0
        for each in shuffled:
            if left <= 0:
                break
            chosen.append(each)
            left -= packs[each]
        return tuple(sorted(chosen))


EVERYTHING = PackSubset(part=(1, 1))
