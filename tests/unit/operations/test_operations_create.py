import fcntl
import json
import re
import signal
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.drivers.base import BeforeSend
from dfx_backup.errors import (
    BackupError,
    CanisterDownError,
    CertificateError,
    InterruptedRunError,
    LockedError,
    NetworkError,
    ProjectError,
    RefusedError,
    RejectError,
    ToolError,
    UnknownOutcomeError,
    UsageError,
)
from dfx_backup.ic.http_errors import HttpStatusError, TransportError
from dfx_backup.ic.principal import ANONYMOUS
from dfx_backup.model import (
    CanisterId,
    CanisterSnapshot,
    Consistency,
    RunState,
    SentCall,
    SnapshotId,
)
from dfx_backup.operations.journal import Journal, JournalEntry, Step
from dfx_backup.operations.locks import canister_lock, lock_path
from dfx_backup.operations.pending import pending
from dfx_backup.operations.plans import CreateOptions
from dfx_backup.operations.snapshot_create import create, plan_create
from tests.fakes.memory_driver import POOR
from tests.fakes.memory_management import STRANGER, How, reject
from tests.fakes.operations_world import World

PLAIN = CreateOptions()


def test_a_snapshot_is_taken_with_the_canister_stopped_and_running_again(world: World) -> None:
    result = create(world.run, world.target, PLAIN)

    assert world.ids == [result.snapshot.snapshot_id]
    assert world.is_running
    assert result.running
    assert result.consistency is Consistency.CONSISTENT
    assert result.versions.after_stop == result.versions.in_snapshot
    assert not result.incomplete
    assert not world.journal_files
    order = [name for name, _ in world.subnet.calls]
    at = [order.index(f"{name}") for name in ("stop_canister", "take_canister_snapshot")]
    assert at == sorted(at)
    assert order.index("start_canister") > at[1]


def test_the_outage_is_from_sending_stop_to_the_answer_of_start(world: World) -> None:
    result = create(world.run, world.target, PLAIN)

    # stop, look, take, look, start: half a second each; the metadata is read after the start.
    assert result.outage_s == pytest.approx(2.5)


def test_the_plan_touches_nothing(world: World) -> None:
    plan = plan_create(world.run, world.target, PLAIN)

    assert plan.stops
    assert {name for name, _ in world.subnet.calls} == {
        "canister_status",
        "list_canister_snapshots",
    }
    assert create(world.run, world.target, PLAIN).plan == plan


def test_live_does_not_stop_and_says_what_that_means(world: World) -> None:
    result = create(world.run, world.target, CreateOptions(live=True))

    assert world.called("stop_canister") == 0
    assert result.consistency is Consistency.LIVE
    assert result.outage_s == 0
    assert any("keeps running" in text for text in result.warnings)
    assert not world.journal_files


def test_live_needs_a_driver_that_can(tmp_path: Path) -> None:
    world = World(tmp_path, poor=POOR)
    with pytest.raises(UsageError, match="running canister"):
        create(world.run, world.target, CreateOptions(live=True))


def test_without_a_reader_the_label_says_unverified(tmp_path: Path) -> None:
    world = World(tmp_path, poor=POOR, reader=False)

    result = create(world.run, world.target, PLAIN)

    assert result.consistency is Consistency.UNVERIFIED
    assert any("not proven" in text for text in result.warnings)
    assert not result.incomplete


def test_nobody_waits_long_for_a_version_while_the_canister_is_stopped(world: World) -> None:
    world.subnet.fail("canister_status", How.NEVER, skip=1, times=2)

    result = create(world.run, world.target, PLAIN)

    held = [patience for patience in world.management.patience if patience is not None]
    assert held == [world.run.limits.look_s] * 2
    assert result.consistency is Consistency.UNVERIFIED
    assert any("could not be read" in text for text in result.warnings)
    assert world.is_running
    assert not world.journal_files


def test_nobody_waits_long_for_a_status_when_a_stop_or_a_start_fails(world: World) -> None:
    world.subnet.fail("stop_canister", How.LOST)
    world.subnet.fail("start_canister", How.LOST)

    create(world.run, world.target, PLAIN)

    held = [patience for patience in world.management.patience if patience is not None]
    assert held == [world.run.limits.look_s] * 4
    assert world.is_running


def test_somebody_who_starts_the_canister_in_between_is_found_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = world.driver.take_snapshot

    def meddled(*args: Any, **more: Any) -> CanisterSnapshot:
        world.chat.state = RunState.RUNNING
        world.chat.version += 1
        snapshot = take(*args, **more)
        world.chat.state = RunState.STOPPED
        world.chat.version += 1
        return snapshot

    monkeypatch.setattr(world.driver, "take_snapshot", meddled)

    result = create(world.run, world.target, PLAIN)

    assert result.consistency is Consistency.NOT_CONSISTENT
    assert result.incomplete
    assert world.is_running


def test_an_idle_canister_that_somebody_started_is_found_out_by_its_state(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = world.driver.stop

    def undone(*args: Any, **more: Any) -> None:
        stop(*args, **more)
        world.chat.state = RunState.RUNNING

    monkeypatch.setattr(world.driver, "stop", undone)

    assert create(world.run, world.target, PLAIN).consistency is Consistency.NOT_CONSISTENT


def test_replace_frees_its_slot(world: World) -> None:
    before = world.taken(10)

    result = create(world.run, world.target, CreateOptions(replace=SnapshotId(before[3])))

    assert before[3] not in world.ids
    assert len(world.ids) == 10
    assert before[3] in result.plan.will_be_lost[0]


def test_ten_snapshots_are_refused_before_anything_is_stopped(world: World) -> None:
    world.taken(10)
    with pytest.raises(RefusedError, match="10 is the limit"):
        create(world.run, world.target, PLAIN)
    assert world.called("stop_canister") == 0


def test_replace_must_name_a_snapshot_of_this_canister(world: World) -> None:
    own = world.taken(1)[0]
    with pytest.raises(UsageError, match="has no snapshot"):
        create(world.run, world.target, CreateOptions(replace=SnapshotId("7" + own[1:])))
    foreign = SnapshotId(own[:16] + "00000000000000070101")
    with pytest.raises(RefusedError, match="belongs to canister"):
        create(world.run, world.target, CreateOptions(replace=foreign))
    with pytest.raises(UsageError, match="no snapshot id"):
        create(world.run, world.target, CreateOptions(replace=SnapshotId("newest")))


def test_a_canister_found_stopped_is_refused_and_stays_stopped_when_allowed(world: World) -> None:
    world.chat.state = RunState.STOPPED
    with pytest.raises(RefusedError, match="is stopped") as caught:
        create(world.run, world.target, PLAIN)
    assert "dfx-backup recover" in caught.value.hint

    result = create(world.run, world.target, CreateOptions(allow_stopped=True))

    assert world.chat.state is RunState.STOPPED
    assert result.consistency is Consistency.CONSISTENT
    assert world.called("start_canister") == 0
    assert not world.journal_files


def test_a_stopping_canister_is_refused(world: World) -> None:
    world.chat.state = RunState.STOPPING
    with pytest.raises(RefusedError, match="is stopping"):
        create(world.run, world.target, CreateOptions(allow_stopped=True))


def test_an_empty_canister_is_refused(world: World) -> None:
    world.chat.module_hash = None
    with pytest.raises(RefusedError, match="is empty"):
        create(world.run, world.target, PLAIN)


def test_who_is_no_controller_is_refused_before_the_stop(world: World) -> None:
    world.chat.controllers = (STRANGER,)
    with pytest.raises(RejectError) as caught:
        create(world.run, replace(world.target, principal="rwlgt-iiaaa-aaaaa-aaaaa-cai"), PLAIN)
    assert "--identity" in caught.value.hint
    assert "--add-controller rwlgt-iiaaa-aaaaa-aaaaa-cai" in caught.value.hint
    assert world.called("stop_canister") == 0


def test_nobody_is_told_to_make_everybody_a_controller(world: World) -> None:
    world.chat.controllers = (STRANGER,)
    assert world.target.principal == ANONYMOUS.to_text()
    with pytest.raises(RejectError) as caught:
        create(world.run, world.target, PLAIN)
    assert "--identity" in caught.value.hint
    assert "--add-controller" not in caught.value.hint


def test_a_canister_that_another_run_has_stopped_is_told_so(world: World) -> None:
    path = lock_path(world.state, world.target.key)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"pid": 1, "since": 1.6e9, "purpose": "restore"}))
    world.chat.state = RunState.STOPPED
    with path.open("rb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(LockedError, match=r"process 1 \(restore\)"):
            plan_create(world.run, world.target, PLAIN)
    with pytest.raises(RefusedError, match="is stopped"):
        plan_create(world.run, world.target, PLAIN)


def test_another_refusal_does_not_speak_of_controllers(world: World) -> None:
    world.subnet.fail("canister_status", How.REJECT, error=reject(2, "IC0522", "no"), times=9)
    with pytest.raises(RejectError) as caught:
        create(world.run, world.target, PLAIN)
    assert "controller" not in (caught.value.hint or "")


def test_too_few_cycles_are_refused_with_the_amount(world: World) -> None:
    world.chat.cycles = 1_000
    with pytest.raises(RefusedError, match="frozen") as caught:
        create(world.run, world.target, PLAIN)
    assert "top-up" in caught.value.hint
    assert world.called("stop_canister") == 0


def test_a_canister_that_will_not_stop_is_started_again(world: World) -> None:
    world.chat.stuck = True

    with pytest.raises(NetworkError, match="did not stop within 60 s"):
        create(world.run, world.target, PLAIN)

    assert world.is_running
    assert world.ids == []
    assert not world.journal_files


def test_a_stop_whose_answer_was_lost_is_enough_when_the_canister_stopped(world: World) -> None:
    world.subnet.fail("stop_canister", How.LOST)

    result = create(world.run, world.target, PLAIN)

    assert result.snapshot
    assert world.called("stop_canister") == 1
    assert world.is_running
    assert not world.journal_files


def test_a_stop_that_executes_after_our_start_is_undone(world: World) -> None:
    world.subnet.fail("stop_canister", How.LATE, delay_s=62)

    with pytest.raises(NetworkError, match="did not stop"):
        create(world.run, world.target, PLAIN)

    assert world.called("stop_canister") == 1
    assert world.called("start_canister") == 2
    assert world.is_running
    assert not world.journal_files


def test_with_dfx_a_late_stop_is_left_to_recover(tmp_path: Path) -> None:
    world = World(tmp_path, poor=POOR)
    world.subnet.fail("stop_canister", How.NEVER)

    with pytest.raises(NetworkError, match="did not stop"):
        create(world.run, world.target, PLAIN)

    assert world.is_running
    assert len(pending(world.state)) == 1
    with pytest.raises(RefusedError, match="has to be finished first"):
        create(world.run, world.target, PLAIN)
    world.later(300)
    assert create(world.run, world.target, PLAIN).snapshot


def test_a_take_whose_answer_was_lost_is_found_in_the_list(world: World) -> None:
    old = world.taken(2)
    world.subnet.fail("take_canister_snapshot", How.LOST)

    result = create(world.run, world.target, PLAIN)

    assert world.ids == [*old, result.snapshot.snapshot_id]
    assert world.called("take_canister_snapshot") == 1


def test_a_take_that_comes_late_is_waited_for(world: World) -> None:
    world.subnet.fail("take_canister_snapshot", How.LATE, delay_s=20)

    result = create(world.run, world.target, PLAIN)

    assert world.ids == [result.snapshot.snapshot_id]
    assert world.called("take_canister_snapshot") == 1


def test_a_take_that_never_shows_up_is_no_reason_for_a_blind_second_one(world: World) -> None:
    world.subnet.fail("take_canister_snapshot", How.NEVER)

    with pytest.raises(UnknownOutcomeError, match="not known") as caught:
        create(world.run, world.target, PLAIN)

    assert "recover" in caught.value.hint
    assert world.called("take_canister_snapshot") == 1
    assert world.is_running
    with pytest.raises(RefusedError, match="finished first"):
        create(world.run, world.target, PLAIN)
    assert world.called("take_canister_snapshot") == 1


def test_a_take_that_has_expired_without_a_trace_is_sent_once_more(world: World) -> None:
    world.management.expiry_s = 20
    world.subnet.fail("take_canister_snapshot", How.NEVER)

    result = create(world.run, world.target, PLAIN)

    assert world.ids == [result.snapshot.snapshot_id]
    assert world.called("take_canister_snapshot") == 2


def test_after_two_lost_answers_no_third_take_is_sent(world: World) -> None:
    world.management.expiry_s = 20
    world.subnet.fail("take_canister_snapshot", How.NEVER, times=2)

    with pytest.raises(NetworkError, match="two answers were lost"):
        create(world.run, world.target, PLAIN)

    assert world.called("take_canister_snapshot") == 2
    assert world.ids == []
    assert world.is_running


def test_several_new_snapshots_are_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    take = world.driver.take_snapshot

    def crowded(*args: Any, **more: Any) -> CanisterSnapshot:
        world.management._take(world.chat, None)
        return take(*args, **more)

    monkeypatch.setattr(world.driver, "take_snapshot", crowded)
    world.subnet.fail("take_canister_snapshot", How.LOST)

    with pytest.raises(NetworkError, match="several") as caught:
        create(world.run, world.target, PLAIN)

    assert all(name in caught.value.message for name in world.ids)
    assert world.is_running


def test_a_heap_delta_limit_is_waited_out(world: World) -> None:
    world.subnet.fail("take_canister_snapshot", How.REJECT, times=3)

    result = create(world.run, world.target, PLAIN)

    assert world.ids == [result.snapshot.snapshot_id]
    assert world.called("take_canister_snapshot") == 4


@pytest.mark.parametrize("code", ["IC0207", "IC0305", "IC0408", "IC0409", "IC0512"])
def test_other_refusals_are_not_repeated(world: World, code: str) -> None:
    error = reject(4, code, "no")
    world.subnet.fail("take_canister_snapshot", How.REJECT, error=error)

    with pytest.raises(RejectError) as caught:
        create(world.run, world.target, PLAIN)

    assert world.called("take_canister_snapshot") == 1
    assert world.is_running
    assert f"canister {world.target} runs again" in (caught.value.hint or "")


def test_a_refused_stop_needs_no_start(world: World) -> None:
    world.subnet.fail("stop_canister", How.REJECT, error=reject(5, "IC0512", "no"))

    with pytest.raises(RejectError):
        create(world.run, world.target, PLAIN)

    assert world.called("start_canister") == 0
    assert not world.journal_files


def test_a_status_that_can_not_be_read_is_not_taken_for_a_lost_call(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = world.driver.start

    def start(*args: Any) -> None:
        real(*args)
        world.subnet.fail("canister_status", How.UNSENT, times=1000)

    monkeypatch.setattr(world.driver, "start", start)
    result = create(world.run, world.target, PLAIN)

    assert result.recovery_pending
    [warning] = [each for each in result.warnings if "recover" in each]
    assert "could not be seen" in warning
    assert "lost" not in warning


def test_a_network_that_is_gone_before_the_stop_is_no_outage(world: World) -> None:
    world.subnet.fail("stop_canister", How.UNSENT)
    world.subnet.fail("start_canister", How.UNSENT, times=1000)

    with pytest.raises(NetworkError, match="connection refused"):
        create(world.run, world.target, PLAIN)

    assert world.is_running
    assert not world.journal_files


def test_start_is_tried_until_the_network_is_back(world: World) -> None:
    world.subnet.fail("start_canister", How.UNSENT, times=4)

    result = create(world.run, world.target, PLAIN)

    assert world.is_running
    assert result.outage_s > 10


def test_a_canister_that_can_not_be_started_is_exit_4_with_the_command(world: World) -> None:
    world.subnet.fail("start_canister", How.UNSENT, times=1000)

    with pytest.raises(CanisterDownError) as caught:
        create(world.run, world.target, PLAIN)

    command = f"dfx-backup recover {world.canister} --network local --identity alice"
    assert command in caught.value.hint
    assert len(pending(world.state)) == 1


def test_exit_4_comes_before_the_first_error_and_names_it(world: World) -> None:
    world.subnet.fail("take_canister_snapshot", How.REJECT, error=reject(4, "IC0406", "no luck"))
    world.subnet.fail("start_canister", How.UNSENT, times=1000)

    with pytest.raises(CanisterDownError, match="no luck"):
        create(world.run, world.target, PLAIN)


def test_a_frozen_canister_is_exit_4_with_the_amount(tmp_path: Path) -> None:
    world = World(tmp_path, poor=POOR)
    text = "Canister is out of cycles: please top up with at least 1_000 additional cycles"
    world.subnet.fail("start_canister", How.REJECT, error=reject(2, "IC0207", text), times=99)

    with pytest.raises(CanisterDownError) as caught:
        create(world.run, world.target, PLAIN)

    assert f"dfx cycles top-up {world.canister} 1100 --network local" in caught.value.hint
    assert f"dfx canister start {world.canister} --network local" in caught.value.hint


def test_a_lock_that_is_held_names_its_holder(world: World) -> None:
    with (
        canister_lock(world.run, world.target, purpose="snapshot load"),
        pytest.raises(LockedError, match=r"process \d+ \(snapshot load\), since 2027"),
    ):
        create(world.run, world.target, PLAIN)
    assert create(world.run, world.target, PLAIN).snapshot


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("method", ["stop", "take_snapshot", "start"])
def test_a_signal_inside_the_hold_starts_the_canister_first(
    world: World, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, method: str
) -> None:
    real = getattr(world.driver, method)

    def hit(*args: Any, **more: Any) -> Any:
        signal.raise_signal(number)
        signal.raise_signal(number)
        return real(*args, **more)

    monkeypatch.setattr(world.driver, method, hit)
    before = signal.getsignal(number)

    with pytest.raises(InterruptedRunError, match=signal.Signals(number).name) as caught:
        create(world.run, world.target, PLAIN)

    assert world.is_running
    assert not world.journal_files
    assert signal.getsignal(number) == before
    assert all(name in caught.value.message for name in world.ids)


def test_a_signal_before_the_stop_ends_the_run_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hit(*_args: Any) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(world.driver, "list_snapshots", hit)
    with pytest.raises(InterruptedRunError):
        create(world.run, world.target, PLAIN)
    assert world.called("stop_canister") == 0


def test_a_journal_that_can_not_be_written_stops_nothing(world: World) -> None:
    world.state.mkdir(parents=True)
    (world.state / "journal").write_text("in the way")
    with pytest.raises(ProjectError, match="journal"):
        create(world.run, world.target, PLAIN)
    assert world.called("stop_canister") == 0


def test_a_lock_that_can_not_be_used_names_the_state_directory(world: World) -> None:
    lock = lock_path(world.state, world.target.key)
    lock.mkdir(parents=True)
    with pytest.raises(ProjectError, match=re.escape(str(lock))) as caught:
        create(world.run, world.target, PLAIN)
    assert "XDG_STATE_HOME" in caught.value.hint


def test_only_the_user_can_read_what_is_kept(world: World) -> None:
    create(world.run, world.target, PLAIN)

    for folder in (world.state, world.state / "journal", world.state / "locks"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_journal_is_on_the_disk_before_the_stop_leaves(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = world.driver.stop
    seen: list[str] = []

    def stop(*args: Any, before_send: BeforeSend, **more: Any) -> None:
        def sending(call: SentCall) -> None:
            before_send(call)
            seen.append(world.journal_files[0].read_text())

        return real(*args, before_send=sending, **more)

    monkeypatch.setattr(world.driver, "stop", stop)
    create(world.run, world.target, PLAIN)
    assert '"kind": "stop"' in seen[0]
    assert '"was_running": true' in seen[0]


def test_a_tool_that_failed_after_the_snapshot_was_taken_took_it(world: World) -> None:
    world.subnet.fail("take_canister_snapshot", How.RAISE, error=ToolError("dfx crashed"))
    result = create(world.run, world.target, PLAIN)
    assert world.ids == [result.snapshot.snapshot_id]


def test_a_tool_that_failed_to_take_is_an_error(world: World) -> None:
    world.subnet.fail("take_canister_snapshot", How.RAISE_BEFORE, error=ToolError("dfx crashed"))
    with pytest.raises(ToolError, match="crashed"):
        create(world.run, world.target, PLAIN)
    assert world.called("take_canister_snapshot") == 0
    assert world.is_running
    assert not world.journal_files


def test_a_driver_that_signs_anew_after_a_refusal_leaves_nothing_open(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = world.driver.take_snapshot

    def twice(*args: Any, before_send: BeforeSend, **more: Any) -> CanisterSnapshot:
        before_send(SentCall(request_id="ab", expires_at=world.subnet.clock.now + 240))
        return real(*args, before_send=before_send, **more)

    monkeypatch.setattr(world.driver, "take_snapshot", twice)
    result = create(world.run, world.target, PLAIN)
    assert not result.recovery_pending
    assert not world.journal_files


@pytest.mark.parametrize(
    "error",
    [
        TransportError("down", sent=False),
        HttpStatusError("busy", status=503),
        ProjectError("no id"),
    ],
)
def test_a_stop_that_never_left_is_no_outage(world: World, error: BackupError) -> None:
    world.subnet.fail("stop_canister", How.RAISE_BEFORE, error=error)
    with pytest.raises(type(error)):
        create(world.run, world.target, PLAIN)
    assert world.called("start_canister") == 0
    assert not world.journal_files


def test_a_certificate_that_does_not_hold_proves_nothing(world: World) -> None:
    world.subnet.fail("stop_canister", How.RAISE, error=CertificateError("bad signature"))
    assert create(world.run, world.target, PLAIN).snapshot
    assert world.is_running


def test_starting_is_tried_again_however_long_one_try_takes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = world.driver.start
    tries = 0

    def slow(canister: CanisterId) -> None:
        nonlocal tries
        tries += 1
        world.subnet.clock.now += 300
        if tries < 3:
            raise NetworkError("lost")
        real(canister)

    monkeypatch.setattr(world.driver, "start", slow)
    assert create(world.run, world.target, PLAIN).outage_s > 900
    assert world.is_running


@pytest.mark.parametrize("times", [1, 1000])
@pytest.mark.parametrize("step", ["taken", "starting"])
def test_a_disk_that_is_full_after_the_take_names_what_was_taken(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str, times: int
) -> None:
    """The canister is started all the same, and nobody has to look for the snapshot."""
    write, left = Journal.write, times

    def full(self: Journal, entry: JournalEntry) -> None:
        nonlocal left
        if left and (entry.step is Step(step) or left < times):
            left -= 1
            raise ProjectError("the journal can't be written: No space left on device")
        write(self, entry)

    monkeypatch.setattr(Journal, "write", full)
    if step == "taken":
        with pytest.raises(ProjectError, match="No space left") as caught:
            create(world.run, world.target, PLAIN)
        [snapshot] = world.ids
        assert f"snapshot {snapshot} of chat was taken" in (caught.value.hint or "")
        assert "runs again" in (caught.value.hint or "")
    else:  # what must be done is done without a journal
        assert create(world.run, world.target, PLAIN).snapshot.snapshot_id in world.ids
    assert world.is_running
    assert world.called("take_canister_snapshot") == 1
    assert not world.journal_files


def test_a_canister_that_stays_down_names_what_was_taken(world: World) -> None:
    world.subnet.fail("start_canister", How.UNSENT, times=1000)

    with pytest.raises(CanisterDownError) as caught:
        create(world.run, world.target, PLAIN)

    [snapshot] = world.ids
    assert f"snapshot {snapshot} of chat was taken" in caught.value.message
