"""What every test may take for granted."""

import os
import shutil
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


@pytest.fixture(scope="session")
def openssl() -> str:
    """The program; without it a test is skipped, and fails where judges are required."""
    found = shutil.which("openssl")
    if found is not None:
        return found
    reason = "openssl is not installed"
    if os.environ.get("DFX_BACKUP_REQUIRE_JUDGES"):
        pytest.fail(reason)
    pytest.skip(reason)
