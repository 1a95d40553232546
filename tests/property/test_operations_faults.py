"""Whatever fails, a canister that was running is running: after the run, or after `recover`."""

import contextlib
import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfx_backup.errors import BackupError, CanisterDownError, InterruptedRunError
from dfx_backup.model import SnapshotId
from dfx_backup.operations import state_files
from dfx_backup.operations.pending import pending
from dfx_backup.operations.plans import CreateOptions, LoadOptions
from dfx_backup.operations.recover import recover
from dfx_backup.operations.snapshot_create import create
from dfx_backup.operations.snapshot_load import load
from tests.fakes.memory_driver import POOR, RICH
from tests.fakes.memory_management import How
from tests.fakes.operations_world import KilledError, World

CALLS = (
    "canister_status",
    "list_canister_snapshots",
    "stop_canister",
    "take_canister_snapshot",
    "load_canister_snapshot",
    "start_canister",
    "read_canister_snapshot_metadata",
)
FAULTS = (
    (How.REJECT, 0.0),
    (How.UNSENT, 0.0),
    (How.LOST, 0.0),
    (How.NEVER, 0.0),
    (How.LATE, 3.0),
    (How.LATE, 45.0),
    (How.RAISE, 0.0),
    (How.RAISE_BEFORE, 0.0),
)
KINDS = ("create", "load")


@pytest.fixture(autouse=True, scope="module")
def fast_disk() -> Iterator[None]:
    """The disk is not what is tested here, and waiting for it takes most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dfx_backup.files.os.fsync", lambda _handle: None)
        yield


_MEMORY = Path("/dev/shm")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory, where there is one: each run writes a journal many times."""
    with in_memory() as name:
        yield Path(name)


def in_memory() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None)


def new_world(folder: Path, *, poor: bool, reader: bool = True) -> World:
    world = World(folder, poor=POOR if poor else RICH, reader=reader)
    world.taken(2)
    world.chat.content = b"written since"
    return world


def operate(world: World, kind: str) -> Any:
    if kind == "create":
        return create(world.run, world.target, CreateOptions())
    return load(world.run, world.target, LoadOptions(snapshot=SnapshotId(world.ids[0])))


def attempt(world: World, kind: str) -> Any:
    """The result, or the error; a KeyboardInterrupt may get through before anything is stopped."""
    try:
        return operate(world, kind)
    except (BackupError, KeyboardInterrupt, KilledError) as error:
        return error


def check_end_of_run(world: World, outcome: Any) -> None:
    if isinstance(outcome, KilledError):
        return
    if not isinstance(outcome, CanisterDownError):
        assert world.is_running, outcome
    else:
        assert len(world.journal_files) == 1
    if isinstance(outcome, InterruptedRunError):
        assert all(name in outcome.message for name in world.ids[2:]) or world.journal_files


def recover_all(world: World) -> None:
    """Recover as a user would: again and again, with time going by, until nothing is pending."""
    for _ in range(6):
        if not pending(world.state):
            return
        with contextlib.suppress(BackupError, KeyboardInterrupt, KilledError):
            recover(world.run, (world.target,))
        if world.management.dead:
            world.reborn()
        world.subnet.clock.now += 30
    world.subnet._faults.clear()
    recover(world.run, (world.target,))
    assert not pending(world.state)


def check_for_ever(world: World, before: list[str]) -> None:
    """The journal is closed: nothing that is still on its way may change the canister now."""
    assert not world.journal_files
    assert world.is_running
    contents = world.chat.content
    world.later(1_000)
    assert world.is_running
    assert world.chat.content == contents
    assert world.ids[: len(before)] == before, "only ours may be deleted"
    assert len(world.ids) <= len(before) + 1, "never a blind second snapshot"
    assert world.called("stop_canister") <= 1


def run_and_check(world: World, kind: str) -> Any:
    before = list(world.ids)
    outcome = attempt(world, kind)
    check_end_of_run(world, outcome)
    # An interrupted run starts the canister at once, even when a load may still come late.
    if not isinstance(outcome, InterruptedRunError | KilledError) and world.is_running:
        world.chat.content = b"written after the start"
    if world.management.dead:
        world.reborn()
    recover_all(world)
    if isinstance(outcome, KilledError):
        world.chat.content = b"written after recover"
    check_for_ever(world, before)
    return outcome


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("poor", [False, True])
@pytest.mark.parametrize("method", CALLS)
def test_one_fault_at_every_call(folder: Path, kind: str, poor: bool, method: str) -> None:  # noqa: FBT001 - parametrized
    met = 0
    for (how, delay_s), skip in itertools.product(FAULTS, range(5)):
        world = new_world(folder / f"{how.name} {delay_s} {skip}", poor=poor)
        world.subnet.fail(method, how, skip=skip, delay_s=delay_s)
        outcome = run_and_check(world, kind)
        hit = not world.subnet.unused_faults
        met += hit
        assert hit or not isinstance(outcome, BaseException), outcome
    if kind == "load" or method != "load_canister_snapshot":
        assert met >= len(FAULTS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("poor", [False, True])
def test_kill_9_around_every_call(folder: Path, kind: str, poor: bool) -> None:  # noqa: FBT001 - parametrized
    killed = 0
    for method, how, skip in itertools.product(CALLS, (How.RAISE, How.RAISE_BEFORE), range(5)):
        world = new_world(folder / f"{method} {how.name} {skip}", poor=poor)
        world.subnet.fail(method, how, skip=skip, error=KilledError())
        killed += isinstance(run_and_check(world, kind), KilledError)
    assert killed > 12


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_kill_9_around_every_write(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str, moment: str
) -> None:
    for number in itertools.count():
        world = new_world(folder / f"{number}", poor=False)
        before = list(world.ids)
        with killing(monkeypatch, world, number, moment):
            outcome = attempt(world, kind)
        if not isinstance(outcome, KilledError):
            break
        world.reborn()
        recover_all(world)
        check_for_ever(world, before)
    assert number > 8


@contextlib.contextmanager
def killing(
    monkeypatch: pytest.MonkeyPatch, world: World, number: int, moment: str
) -> Iterator[None]:
    """Die at the write with this number, with or without it on the disk."""
    counter = itertools.count()

    def deadly(real: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            if world.management.dead:
                raise KilledError
            now = next(counter) == number
            if now and moment == "before":
                world.management.die()
                raise KilledError
            real(*arguments)
            if now:
                world.management.die()
                raise KilledError

        return call

    with monkeypatch.context() as patch:
        for module in ("journal", "ledger"):
            name = f"dfx_backup.operations.{module}.write_whole"
            patch.setattr(name, deadly(state_files.write_whole))
        patch.setattr("dfx_backup.operations.journal.remove", deadly(state_files.remove))
        yield


faults = st.tuples(
    st.sampled_from(CALLS),
    st.sampled_from((*How, "killed", "killed before")),
    st.integers(0, 5),
    st.integers(1, 4),
    st.floats(0, 235),
)


@settings(
    deadline=None,
    max_examples=400,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    kind=st.sampled_from(KINDS),
    poor=st.booleans(),
    reader=st.booleans(),
    stuck=st.booleans(),
    planned=st.lists(faults, min_size=1, max_size=4),
)
def test_any_faults_together(
    kind: str, *, poor: bool, reader: bool, stuck: bool, planned: list[tuple[Any, ...]]
) -> None:
    with in_memory() as folder:
        world = new_world(Path(folder), poor=poor, reader=reader)
        world.chat.stuck = stuck
        for method, how, skip, times, delay_s in planned:
            if isinstance(how, How):
                limit = 55 if method == "stop_canister" and not poor else 235
                world.subnet.fail(method, how, skip=skip, times=times, delay_s=min(delay_s, limit))
            else:
                moment = How.RAISE if how == "killed" else How.RAISE_BEFORE
                world.subnet.fail(method, moment, skip=skip, error=KilledError())
        run_and_check(world, kind)
