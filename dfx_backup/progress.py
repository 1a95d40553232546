"""How a long operation tells what it is doing; the command line passes an implementation in."""

from typing import Protocol


class Progress(Protocol):
    """Receives what happens, in the order in which it happens."""

    def step(self, text: str) -> None:
        """A new step begins; one line, no full stop."""

    def warn(self, text: str) -> None:
        """Something the user should know that does not end the run; one full sentence."""


class SilentProgress:
    """Swallows everything: for callers of the Python API, and for tests."""

    def step(self, text: str) -> None:
        """Ignore the step."""

    def warn(self, text: str) -> None:
        """Ignore the warning."""
