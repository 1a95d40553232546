"""SIGINT, SIGTERM and SIGHUP, noticed at points where stopping is safe.

While a canister is held stopped, a signal is only remembered: the steps ask for it between two
calls, and the canister is started before the run ends. At any other time the signal ends the run at
once. A second one changes nothing.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self

from dfx_backup.errors import InterruptedRunError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends a run: Ctrl-C, a service manager, and a terminal that went away."""


class Interrupts:
    """A context that turns `SIGNALS` into `InterruptedRunError`.

    Handlers are installed in the main thread only, where Python runs them; a signal that is being
    ignored stays ignored. The former handlers come back at the end.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._caught: str | None = None
        self._former: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._former[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        for number, former in self._former.items():
            # None: the former handler was not installed from Python and can't be put back.
            if callable(former) or isinstance(former, int):
                signal.signal(number, former)
        self._former.clear()

    @property
    def caught(self) -> str | None:
        """The first signal's name, or None."""
        return self._caught

    def remember(self, name: str = "SIGINT") -> None:
        """Note an interruption that came another way, such as a KeyboardInterrupt."""
        self._caught = self._caught or name

    def check(self) -> None:
        """End here if a signal has come.

        Raises:
            InterruptedRunError: a signal has come.
        """
        if self._caught is not None:
            raise InterruptedRunError(f"the run was interrupted by {self._caught}")

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside, signals are only remembered; whoever enters must ask `check` or `caught`.

        Ctrl-Z does nothing meanwhile: it would put us to sleep with the canister stopped.
        """
        self._depth += 1
        try:
            with _awake():
                yield
        finally:
            self._depth -= 1

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        first = self._caught is None
        self.remember(signal.Signals(number).name)
        if first and self._depth == 0:
            self.check()


@contextmanager
def _awake() -> Iterator[None]:
    """Ignore SIGTSTP inside, where signals can be handled and nobody else handles it."""
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTSTP) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
