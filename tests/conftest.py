"""What every test may take for granted."""

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _signals_as_usual() -> Iterator[None]:
    """Undo what a shell does to programs in the background, and `nohup`: signals that are ignored.

    Children inherit that, and the program respects it.
    """
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    former = {number: signal.getsignal(number) for number in usual}
    for number, handler in usual.items():
        if former[number] is signal.SIG_IGN:
            signal.signal(number, handler)
    yield
    for number, handler in former.items():
        signal.signal(number, handler)
