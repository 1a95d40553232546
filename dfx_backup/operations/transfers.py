"""What downloads and uploads have in common."""

from collections.abc import Iterator
from contextlib import contextmanager

from dfx_backup.errors import InterruptedRunError, NetworkError, UnknownOutcomeError
from dfx_backup.ic.surroundings import Surroundings
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.target import Runtime
from dfx_backup.transfer.terms import TransferOptions


def options(run: Runtime, interrupts: Interrupts, window: int) -> TransferOptions:
    """How the engine is to work: with the run's clock, and until a signal comes."""
    return TransferOptions(
        window=window,
        should_stop=lambda: interrupts.caught is not None,
        surroundings=Surroundings(
            clock=run.clock.now, monotonic=run.clock.monotonic, sleep=run.clock.sleep
        ),
    )


@contextmanager
def goes_on(hint: str) -> Iterator[None]:
    """Say how an interrupted or failed transfer is gone on with.

    What the network advises after a lost answer is about changes; a transfer repeats its calls.
    """
    try:
        yield
    except (InterruptedRunError, NetworkError) as error:
        kept = None if isinstance(error, UnknownOutcomeError) else error.hint
        error.hint = f"{kept} Then {hint}" if kept else hint
        raise
