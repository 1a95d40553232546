import os
import signal

import pytest

from dfx_backup.errors import InterruptedRunError
from dfx_backup.operations.interrupts import Interrupts


def test_ctrl_z_does_nothing_while_signals_are_deferred() -> None:
    before = signal.getsignal(signal.SIGTSTP)
    with Interrupts() as interrupts:
        with interrupts.deferred():
            os.kill(os.getpid(), signal.SIGTSTP)  # would stop this very test
            with interrupts.deferred():
                os.kill(os.getpid(), signal.SIGTSTP)
            assert signal.getsignal(signal.SIGTSTP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTSTP) is before
    assert interrupts.caught is None


def test_a_deferred_signal_is_told_when_it_is_asked_for() -> None:
    with Interrupts() as interrupts:
        with interrupts.deferred():
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(InterruptedRunError, match="SIGTERM"):
            interrupts.check()
