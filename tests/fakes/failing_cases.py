"""Lines of `cases` for the exit codes that no other case has."""

import fcntl
import os
from typing import TYPE_CHECKING

from dfx_backup.operations.locks import lock_path
from dfx_backup.operations.target import target_key
from tests.fakes.stage import NETWORK_ID

if TYPE_CHECKING:
    from tests.fakes.stage import Stage


def a_bug(stage: "Stage") -> None:
    stage.add("chat")
    stage.fails = RuntimeError("unexpected")


def held_by_another_run(stage: "Stage") -> None:
    """Its lock is never let go: the descriptor ends with the process."""
    path = lock_path(stage.state, target_key(NETWORK_ID, stage.add("chat")))
    path.parent.mkdir(parents=True)
    fcntl.flock(os.open(path, os.O_RDWR | os.O_CREAT), fcntl.LOCK_EX)


def no_such_canister(stage: "Stage") -> None:
    stage.add("chat")
