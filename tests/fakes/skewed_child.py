"""The program with its clock ahead: python -m tests.fakes.skewed_child SECONDS ARGV…"""

import sys
import time
from dataclasses import replace

from dfx_backup.cli.app import main
from dfx_backup.cli.context import SystemClock, read_surroundings


class SkewedClock(SystemClock):
    """The machine's clock, so many seconds later."""

    def __init__(self, ahead_s: float) -> None:
        self._ahead_s = ahead_s

    def now(self) -> float:
        return time.time() + self._ahead_s


if __name__ == "__main__":
    ahead, *argv = sys.argv[1:]
    around = replace(read_surroundings(argv, None), clock=SkewedClock(float(ahead)))
    sys.exit(main(argv, surroundings=around))
