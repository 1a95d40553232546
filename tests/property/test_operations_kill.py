"""A real process, really killed at every step; then `recover`."""

import os
import pickle
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.drivers.base import ignore_sent
from dfx_backup.model import RunState, SnapshotId
from dfx_backup.operations.pending import pending
from dfx_backup.operations.plans import CreateOptions, LoadOptions
from dfx_backup.operations.recover import recover
from dfx_backup.operations.snapshot_create import create
from dfx_backup.operations.snapshot_load import load
from tests.fakes.operations_world import World

KINDS = ("create", "load")


def live_and_die(world: World, kind: str, number: int, subnet: Path) -> None:
    """In the child: the call with this number is executed, saved, and the last thing we do."""
    real = world.management._call
    calls = 0

    def call(method: str, canister: Any, execute: Callable[..., Any], **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number and "before_send" not in more:
            more["before_send"] = ignore_sent
        answer = real(method, canister, execute, **more)
        subnet.write_bytes(pickle.dumps(world.chat))
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    world.management._call = call  # type: ignore[method-assign] # the child's own copy
    if kind == "create":
        create(world.run, world.target, CreateOptions())
    else:
        load(world.run, world.target, LoadOptions(snapshot=SnapshotId(world.ids[0])))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
def test_kill_9_after_every_call(tmp_path: Path, kind: str) -> None:
    killed = 0
    for number in range(1, 30):
        world = World(tmp_path / str(number))
        before = list(world.taken(2))
        subnet = tmp_path / f"{number}.pickle"
        child = os.fork()
        if child == 0:
            try:
                live_and_die(world, kind, number, subnet)
            finally:
                os._exit(0)
        _, how = os.waitpid(child, 0)
        if not os.WIFSIGNALED(how):
            break
        killed += 1
        world.subnet.canisters[world.canister] = pickle.loads(subnet.read_bytes())
        was_stopped = world.chat.state is RunState.STOPPED
        if was_stopped:
            assert len(pending(world.state)) == 1
        if pending(world.state):
            recover(world.run, (world.target,))
        world.later()
        assert world.is_running
        assert world.ids[:2] == before
        assert len(world.ids) <= 3
        again = replace(CreateOptions(), live=False)
        assert create(world.run, world.target, again).snapshot
    assert killed > 7
