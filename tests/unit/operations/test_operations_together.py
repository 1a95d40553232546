from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfx_backup.errors import CanisterDownError, InterruptedRunError, RejectError
from dfx_backup.model import CanisterRef, Consistency, RunState, SnapshotId
from dfx_backup.operations import on_chain, preflight
from dfx_backup.operations.hold import Moment
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.journal import RunKind
from dfx_backup.operations.ledger import BACKUP, SAFETY, Ledger, OwnSnapshot
from dfx_backup.operations.plans import CreateOptions, Versions
from dfx_backup.operations.snapshot_create import plan_found
from dfx_backup.operations.take_together import Prepared, Taken, judge, take_together
from dfx_backup.operations.target import Target
from tests.fakes.memory_management import How, reject
from tests.fakes.operations_world import World

REFUSED = reject(5, "IC0503", "no")


@pytest.fixture
def pair(world: World) -> tuple[Target, Target]:
    other = world.subnet.create(content=b"books")
    ref = CanisterRef(canister_id=other, name="ledger")
    return world.target, replace(world.target, ref=ref)


def prepared(world: World, targets: Sequence[Target]) -> list[Prepared]:
    found = []
    for target in targets:
        seen = preflight.survey(target)
        plan = plan_found(world.run, target, CreateOptions(), seen)
        entry = preflight.new_entry(world.run, target, seen, RunKind.CREATE)
        found.append(Prepared(target=target, plan=plan, entry=entry))
    return found


def changes(world: World) -> list[tuple[str, str]]:
    kinds = ("stop_canister", "take_canister_snapshot", "start_canister")
    return [(name, canister) for name, canister in world.subnet.calls if name in kinds]


def all_run(world: World, targets: Sequence[Target]) -> bool:
    return all(world.subnet[each.canister_id].state is RunState.RUNNING for each in targets)


def test_all_are_stopped_then_taken_then_started_in_reverse(
    world: World, pair: tuple[Target, Target]
) -> None:
    with Interrupts() as interrupts:
        taken = take_together(world.run, interrupts, prepared(world, pair))

    one, two = (each.canister_id for each in pair)
    assert changes(world) == [
        ("stop_canister", one),
        ("stop_canister", two),
        ("take_canister_snapshot", one),
        ("take_canister_snapshot", two),
        ("start_canister", two),
        ("start_canister", one),
    ]
    assert taken[0].held.outage_s > taken[1].held.outage_s > 0
    assert not world.journal_files


@pytest.mark.parametrize(
    ("method", "skip"),
    [("stop_canister", 0), ("stop_canister", 1), ("take_canister_snapshot", 1)],
)
def test_when_one_fails_all_run_again(
    world: World, pair: tuple[Target, Target], method: str, skip: int
) -> None:
    found: list[Sequence[Taken]] = []
    jobs = prepared(world, pair)
    world.subnet.fail(method, How.REJECT, skip=skip, error=REFUSED)
    with Interrupts() as interrupts, pytest.raises(RejectError):
        take_together(world.run, interrupts, jobs, when_all=found.append)

    assert all_run(world, pair)
    assert found == []
    assert not world.journal_files


def test_one_that_does_not_start_keeps_nobody_down(
    world: World, pair: tuple[Target, Target]
) -> None:
    jobs = prepared(world, pair)
    world.subnet.fail(
        "start_canister", How.REJECT, times=1000, error=REFUSED, canister=pair[1].canister_id
    )
    with Interrupts() as interrupts, pytest.raises(CanisterDownError, match="ledger"):
        take_together(world.run, interrupts, jobs)

    assert world.is_running
    (left,) = world.journal_files
    assert pair[1].canister_id in left.name


def test_a_signal_between_two_takes_ends_it_with_all_running(
    world: World, pair: tuple[Target, Target]
) -> None:
    jobs = prepared(world, pair)
    with Interrupts() as interrupts, pytest.raises(InterruptedRunError):
        take_together(
            world.run,
            interrupts,
            jobs,
            each=lambda _target, _snapshot, _held: interrupts.remember(),
        )

    assert all_run(world, pair)
    assert len(world.ids) == 1
    assert not world.subnet[pair[1].canister_id].snapshots


def test_they_stay_stopped_only_when_all_goes_well(
    world: World, pair: tuple[Target, Target]
) -> None:
    def leave(taken: Sequence[Taken]) -> None:
        for one in taken:
            one.held.leave_stopped()

    def fail(taken: Sequence[Taken]) -> None:
        leave(taken)
        raise REFUSED

    with Interrupts() as interrupts, pytest.raises(RejectError):
        take_together(world.run, interrupts, prepared(world, pair), when_all=fail)
    assert all_run(world, pair)

    with Interrupts() as interrupts:
        take_together(world.run, interrupts, prepared(world, pair), when_all=leave)
    assert not world.is_running
    assert not world.journal_files


STOPPED = Moment(version=7, state=RunState.STOPPED)


@pytest.mark.parametrize(
    ("versions", "moments", "live", "promise"),
    [
        ((7, 7, 7), (STOPPED, STOPPED), False, Consistency.CONSISTENT),
        ((7, 8, 7), (STOPPED, STOPPED), False, Consistency.NOT_CONSISTENT),
        ((7, None, 7), (STOPPED, STOPPED), False, Consistency.UNVERIFIED),
        ((None, 7, None), (Moment(), Moment()), False, Consistency.UNVERIFIED),
        ((7, 7, 7), (STOPPED, Moment(state=RunState.RUNNING)), False, Consistency.NOT_CONSISTENT),
        ((7, 9, 8), (STOPPED, STOPPED), True, Consistency.LIVE),
    ],
)
def test_what_is_promised(
    versions: tuple[int | None, int | None, int | None],
    moments: tuple[Moment, Moment],
    live: bool,  # noqa: FBT001 - one of the cases' columns
    promise: Consistency,
) -> None:
    after, inside, before = versions
    told = Versions(after_stop=after, in_snapshot=inside, before_start=before)
    assert judge(told, moments, live=live) is promise


@given(count=st.integers(0, 12), keep=st.integers(0, 9))
def test_the_newest_stay(count: int, keep: int) -> None:
    ids = tuple(SnapshotId(f"{number:02}") for number in range(count))
    gone = on_chain.surplus(ids, keep)
    assert ids == (*gone, *ids[len(gone) :])
    assert len(ids) - len(gone) == min(count, keep)


def test_only_those_taken_for_backups_count(world: World) -> None:
    world.taken(3)
    mine, safe, _ = world.ids
    ledger = Ledger(world.state, world.target.key)
    gone = "ff" * 18
    for snapshot, purpose in ((mine, BACKUP), (safe, SAFETY), (gone, BACKUP)):
        own = OwnSnapshot(snapshot_id=SnapshotId(snapshot), purpose=purpose, taken_at=1.0)
        ledger.add(own)

    listed = world.driver.list_snapshots(world.canister)
    assert on_chain.ours(world.run, world.target, listed) == (mine,)
