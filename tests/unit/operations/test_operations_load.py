import pytest

from dfx_backup.errors import (
    CanisterDownError,
    InterruptedRunError,
    RefusedError,
    RejectError,
    UsageError,
)
from dfx_backup.model import RunState, SnapshotId
from dfx_backup.operations.ledger import Ledger
from dfx_backup.operations.load_planning import FIRST_KEPT_S
from dfx_backup.operations.pending import pending
from dfx_backup.operations.plans import CreateOptions, LoadOptions
from dfx_backup.operations.recover import recover
from dfx_backup.operations.snapshot_create import create
from dfx_backup.operations.snapshot_delete import delete, plan_delete
from dfx_backup.operations.snapshot_listing import list_snapshots
from dfx_backup.operations.snapshot_load import load, plan_load
from tests.fakes.memory_management import How, reject
from tests.fakes.operations_world import NETWORK_ID, KilledError, World


def kept(world: World) -> SnapshotId:
    """A snapshot of `Hi there!`, after which the data was lost."""
    made = create(world.run, world.target, CreateOptions()).snapshot.snapshot_id
    world.chat.content = b""
    return made


def test_the_data_is_back_and_the_lost_state_is_kept(world: World) -> None:
    good = kept(world)

    result = load(world.run, world.target, LoadOptions(snapshot=good))

    assert world.chat.content == b"Hi there!"
    assert world.is_running
    assert result.safety is not None
    assert world.ids == [good, result.safety.snapshot_id]
    assert world.chat.snapshots[1].content == b""
    assert not result.incomplete
    assert not world.journal_files


def test_the_safety_snapshot_is_taken_on_the_stopped_canister(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = kept(world)
    states: list[RunState] = []
    real = world.management._take

    def watched(*args: object) -> object:
        states.append(world.chat.state)
        return real(*args)

    monkeypatch.setattr(world.management, "_take", watched)
    load(world.run, world.target, LoadOptions(snapshot=good))
    assert states == [RunState.STOPPED]


def test_the_plan_says_what_is_lost_and_touches_nothing(world: World) -> None:
    good = kept(world)
    calls = len(world.subnet.calls)

    plan = plan_load(world.run, world.target, LoadOptions(snapshot=good))

    assert good in plan.will_be_lost[0]
    assert plan.safety_snapshot
    assert plan.uploaded is False
    assert any("timer is not brought back" in text for text in plan.warnings)
    assert any("Settings" in text for text in plan.warnings)
    assert any("outside the canister" in text for text in plan.warnings)
    assert not [name for name, _ in world.subnet.calls[calls:] if "stop" in name]


def test_ids_of_another_canister_are_refused_unless_told_so(world: World) -> None:
    good = kept(world)
    foreign = SnapshotId(good[:16] + "00000000000000070101")
    with pytest.raises(RefusedError, match="belongs to canister rdmx6") as caught:
        load(world.run, world.target, LoadOptions(snapshot=foreign))
    assert "--from-other-canister" in caught.value.hint
    plan = plan_load(world.run, world.target, LoadOptions(snapshot=foreign, other_canister=True))
    assert any("bound to a canister id" in text for text in plan.warnings)
    with pytest.raises(UsageError, match="has no snapshot"):
        load(world.run, world.target, LoadOptions(snapshot=SnapshotId("f" + good[1:])))
    assert world.called("load_canister_snapshot") == 0


def test_without_a_slot_for_the_safety_snapshot_nothing_happens(world: World) -> None:
    ids = world.taken(10)
    with pytest.raises(RefusedError, match="10 is the limit") as caught:
        load(world.run, world.target, LoadOptions(snapshot=SnapshotId(ids[0])))
    assert "--skip-safety-snapshot" in (caught.value.hint or "")
    assert world.called("stop_canister") == 0

    skipped = LoadOptions(snapshot=SnapshotId(ids[0]), skip_safety_snapshot=True)
    assert load(world.run, world.target, skipped).safety is None
    assert world.ids == ids

    replacing = LoadOptions(snapshot=SnapshotId(ids[0]), replace=SnapshotId(ids[1]))
    safety = load(world.run, world.target, replacing).safety
    assert safety is not None
    assert world.ids == [ids[0], *ids[2:], safety.snapshot_id]


def test_the_safety_snapshot_never_replaces_the_one_to_load(world: World) -> None:
    good = kept(world)
    with pytest.raises(RefusedError, match="the one to load"):
        load(world.run, world.target, LoadOptions(snapshot=good, replace=good))
    both = LoadOptions(snapshot=good, replace=good, skip_safety_snapshot=True)
    with pytest.raises(UsageError, match="none is taken"):
        load(world.run, world.target, both)


def test_a_load_that_fails_starts_the_old_state_and_names_the_safety_snapshot(
    world: World,
) -> None:
    good = kept(world)
    world.chat.content = b"old state"
    error = reject(4, "IC0408", "Wasm exported globals do not match")
    world.subnet.fail("load_canister_snapshot", How.REJECT, error=error)

    with pytest.raises(RejectError) as caught:
        load(world.run, world.target, LoadOptions(snapshot=good))

    assert world.is_running
    assert world.chat.content == b"old state"
    assert world.ids[-1] in (caught.value.hint or "")
    assert world.called("load_canister_snapshot") == 1


def test_not_currently_loadable_is_tried_again(world: World) -> None:
    good = kept(world)
    error = reject(4, "IC0406", "Snapshot is not currently loadable, try in ten minutes")
    world.subnet.fail("load_canister_snapshot", How.REJECT, error=error, times=2)
    load(world.run, world.target, LoadOptions(snapshot=good))
    assert world.chat.content == b"Hi there!"


def test_a_load_whose_answer_was_lost_is_seen_by_the_version(world: World) -> None:
    good = kept(world)
    world.subnet.fail("load_canister_snapshot", How.LOST)
    load(world.run, world.target, LoadOptions(snapshot=good))
    assert world.called("load_canister_snapshot") == 1
    assert world.chat.content == b"Hi there!"


def test_the_start_waits_for_a_load_that_comes_late(world: World) -> None:
    good = kept(world)
    world.subnet.fail("load_canister_snapshot", How.LATE, delay_s=100)

    load(world.run, world.target, LoadOptions(snapshot=good))

    world.chat.content = b"written after"
    world.later()
    assert world.chat.content == b"written after"


def test_somebody_who_writes_in_between_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = kept(world)
    older = load(world.run, world.target, LoadOptions(snapshot=good)).safety
    assert older is not None
    real = world.driver.load_snapshot

    def meddled(*args: object, **more: object) -> None:
        world.chat.version += 3
        real(*args, **more)  # type: ignore[arg-type] # passed on as they came

    monkeypatch.setattr(world.driver, "load_snapshot", meddled)
    result = load(world.run, world.target, LoadOptions(snapshot=good))
    assert "neither state" in result.incomplete[0]
    assert result.deleted == ()
    assert older.snapshot_id in world.ids  # only a confirmed load makes it superfluous


def test_only_older_safety_snapshots_of_ours_are_deleted(world: World) -> None:
    foreign = world.taken(2)
    good = kept(world)
    first = load(world.run, world.target, LoadOptions(snapshot=good)).safety
    assert first is not None
    world.run.clock.sleep(FIRST_KEPT_S)

    plan = plan_load(world.run, world.target, LoadOptions(snapshot=good))
    second = load(world.run, world.target, LoadOptions(snapshot=good))

    assert plan.deletes == (first.snapshot_id,)
    assert first.snapshot_id in " ".join(plan.will_be_lost)
    assert second.safety is not None
    assert second.deleted == (first.snapshot_id,)
    assert world.ids == [*foreign, good, second.safety.snapshot_id]
    listed = list_snapshots(world.run, world.target)
    assert [one.purpose is not None for one in listed.snapshots] == [False, False, False, True]
    assert listed.free_slots == 6


def test_the_state_before_the_first_of_several_loads_stays_for_a_day(world: World) -> None:
    good = kept(world)
    first, second, third = (
        load(world.run, world.target, LoadOptions(snapshot=good)) for _ in range(3)
    )
    assert first.safety
    assert second.safety
    assert third.safety
    assert (first.deleted, second.deleted) == ((), ())
    assert third.deleted == (second.safety.snapshot_id,)
    assert world.ids == [good, first.safety.snapshot_id, third.safety.snapshot_id]


def test_a_safety_snapshot_that_was_never_acknowledged_is_not_ours(world: World) -> None:
    good = kept(world)
    world.subnet.fail("take_canister_snapshot", How.LOST)
    load(world.run, world.target, LoadOptions(snapshot=good))
    assert Ledger(world.state, world.target.key).read() == ()
    before = world.ids
    load(world.run, world.target, LoadOptions(snapshot=good))
    assert world.ids[:-1] == before


def test_recover_does_not_claim_what_was_never_acknowledged(world: World) -> None:
    good = kept(world)
    world.subnet.fail("take_canister_snapshot", How.LOST)
    world.subnet.fail("load_canister_snapshot", How.RAISE_BEFORE, error=KilledError())
    with pytest.raises(KilledError):
        load(world.run, world.target, LoadOptions(snapshot=good))
    world.reborn()

    done = recover(world.run, (world.target,)).recovered[0]

    assert done.snapshot_id == world.ids[-1]
    assert Ledger(world.state, world.target.key).read() == ()


def test_a_safety_snapshot_being_loaded_is_not_deleted(world: World) -> None:
    good = kept(world)
    safety = load(world.run, world.target, LoadOptions(snapshot=good)).safety
    assert safety is not None
    load(world.run, world.target, LoadOptions(snapshot=safety.snapshot_id))
    assert safety.snapshot_id in world.ids


def test_interrupted_while_waiting_for_a_late_load_starts_at_once(world: World) -> None:
    good = kept(world)
    world.subnet.fail("load_canister_snapshot", How.NEVER)
    world.subnet.fail("canister_status", How.RAISE, skip=4, error=KeyboardInterrupt())
    with pytest.raises(InterruptedRunError) as caught:
        load(world.run, world.target, LoadOptions(snapshot=good))
    assert world.is_running
    assert "recover" in (caught.value.hint or "")
    done = recover(world.run, (world.target,))
    assert any("not known" in text for text in done.recovered[0].warnings)
    assert not world.journal_files


def test_delete_names_what_is_lost_and_refuses_unknown_ids(world: World) -> None:
    good = kept(world)
    plan = plan_delete(world.run, world.target, good)
    assert good in plan.will_be_lost[0]
    assert "only snapshot" in plan.warnings[0]
    with pytest.raises(UsageError, match="has no snapshot"):
        delete(world.run, world.target, SnapshotId("f" + good[1:]))
    assert delete(world.run, world.target, good).left == ()
    assert world.ids == []


def test_delete_with_a_lost_answer_looks_at_the_list(world: World) -> None:
    good = kept(world)
    world.subnet.fail("delete_canister_snapshot", How.LOST)
    assert delete(world.run, world.target, good).left == ()


def test_what_an_unfinished_run_needs_is_not_deleted(world: World) -> None:
    good = kept(world)
    world.subnet.fail("start_canister", How.UNSENT, times=1000)
    with pytest.raises(CanisterDownError):
        load(world.run, world.target, LoadOptions(snapshot=good))
    assert pending(world.state)[0].network_id == NETWORK_ID
    with pytest.raises(RefusedError, match="not finished"):
        delete(world.run, world.target, SnapshotId(world.ids[-1]))


def test_recover_keeps_the_canister_stopped_until_a_late_load_has_come(world: World) -> None:
    good = kept(world)
    world.subnet.fail("load_canister_snapshot", How.RAISE_BEFORE, error=KilledError())
    with pytest.raises(KilledError):
        load(world.run, world.target, LoadOptions(snapshot=good))
    world.reborn()
    world.subnet.later(50, lambda: setattr(world.chat, "content", b"Hi there!"))

    done = recover(world.run, (world.target,)).recovered[0]

    assert world.is_running
    assert any("not known" in text for text in done.warnings)
    world.chat.content = b"written after"
    world.later()
    assert world.chat.content == b"written after"
