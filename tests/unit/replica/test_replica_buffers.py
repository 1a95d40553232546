"""Buffers that the replica keeps."""

import ctypes
import subprocess
import sys

import pytest

from dfx_backup.replica import buffers

_FAULTS = """
import resource, sys
from dfx_backup.replica.buffers import keep_buffers
if sys.argv[1] == "kept" and not keep_buffers():
    sys.exit("nothing was changed")
def use():
    for _ in range(50):
        bytearray(b"x" * 3_000_000)
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def count_faults(how: str) -> int:
    argv = [sys.executable, "-c", _FAULTS, how]
    return int(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="takes glibc")
def test_buffers_are_used_again() -> None:
    assert count_faults("kept") < 100  # 50 times 3 MB are 36,000 pages


def test_elsewhere_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers.sys, "platform", "darwin")
    assert not buffers.keep_buffers()
