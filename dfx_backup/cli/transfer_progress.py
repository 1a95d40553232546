"""How far a transfer is: bytes, rate, time left, retries; live on a terminal, else now and then."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from dfx_backup.cli import text
from dfx_backup.cli.progress_view import ProgressView

if TYPE_CHECKING:
    from dfx_backup.cli.session import Run


class Meter:
    """Counts the bytes of one phase.

    Args:
        total: bytes of all of it.
        done: bytes that were there before.
        monotonic: seconds of a clock that never jumps.
    """

    def __init__(self, *, total: int, done: int, monotonic: Callable[[], float]) -> None:
        self.total = total
        self.done = done
        self.moved = 0
        self.retries = 0
        self._monotonic = monotonic
        self._began = monotonic()

    def add(self, count: int) -> None:
        """So many bytes more."""
        self.done += count
        self.moved += count

    def line(self) -> str:
        """How far it is: `45 %, 512.0 MiB of 1.1 GiB, 33.2 MB/s, 18 s left, 3 retries`."""
        percent = 100 * self.done // self.total if self.total else 100
        parts = [
            f"{min(percent, 100)} %",
            f"{text.size(self.done)} of {text.size(self.total)}",
            *self._pace(),
        ]
        if self.retries:
            parts.append(f"{self.retries} {'retry' if self.retries == 1 else 'retries'}")
        return ", ".join(parts)

    def _pace(self) -> tuple[str, ...]:
        took = self._monotonic() - self._began
        if not self.moved or took <= 0:
            return ()
        rate = self.moved / took
        left = max(0, self.total - self.done) / rate
        return (text.rate(rate), f"{text.duration(left)} left")


class TransferView:
    """Tells what a transfer does, through the command's own view; a `TransferProgress`.

    Args:
        view: where steps and warnings go.
        monotonic: seconds of a clock that never jumps.
    """

    def __init__(self, view: ProgressView, monotonic: Callable[[], float]) -> None:
        self._view = view
        self._monotonic = monotonic
        self._meter: Meter | None = None
        self._told = 0.0

    @classmethod
    def of(cls, run: "Run") -> Self:
        """The view of a command's own transfer."""
        return cls(run.view, run.surroundings.clock.monotonic)

    def step(self, text: str) -> None:
        """A step begins, and a phase that was under way has ended."""
        self._meter = None
        self._view.step(text)

    def warn(self, text: str) -> None:
        """A warning."""
        self._view.warn(text)

    def begin(self, what: str, *, total_bytes: int, done_bytes: int) -> None:
        """A phase begins; so many of its bytes are there already."""
        self._meter = Meter(total=total_bytes, done=done_bytes, monotonic=self._monotonic)
        self._told = self._monotonic()
        there = f", {text.size(done_bytes)} of it are there already" if done_bytes else ""
        self._view.step(f"{what} {text.size(total_bytes)}{there}")

    def advance(self, count: int) -> None:
        """So many bytes more are finished."""
        if self._meter is not None:
            self._meter.add(count)
            self._tell()

    def retry(self, reason: str) -> None:
        """Something failed and is tried again."""
        del reason  # `--verbose` logs each one
        if self._meter is not None:
            self._meter.retries += 1
            self._tell()

    def _tell(self) -> None:
        """How far it is, when that was last told some time ago."""
        now = self._monotonic()
        if self._meter is not None and now - self._told >= self._view.progress_every_s:
            self._told = now
            self._view.progress(self._meter.line())
