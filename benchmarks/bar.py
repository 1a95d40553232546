"""A bar: a figure and its limit."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A figure and its limit.

    Attributes:
        case: which case's.
        what: the figure.
        value: what was measured.
        limit: what it is held against.
        at_least: the value has to reach the limit; otherwise it must not be above it.
        judged: enough was done for the figure to mean something.
    """

    case: str
    what: str
    value: float
    limit: float
    at_least: bool = False
    judged: bool = True

    @property
    def passed(self) -> bool:
        """Whether it holds; a figure that is missing passes nothing."""
        if math.isnan(self.value) or math.isnan(self.limit):
            return False
        return self.value >= self.limit if self.at_least else self.value <= self.limit
