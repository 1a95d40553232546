import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from dfx_backup.errors import (
    CanisterDownError,
    DamageError,
    InterruptedRunError,
    LockedError,
    ProjectError,
    RefusedError,
    RejectError,
)
from dfx_backup.model import CanisterRef, NetworkId, RunState
from dfx_backup.operations.journal import (
    CallKind,
    Journal,
    JournaledCall,
    JournalEntry,
    Outcome,
    RunKind,
    Step,
)
from dfx_backup.operations.locks import canister_lock
from dfx_backup.operations.pending import Pending, discard, pending, pending_for
from dfx_backup.operations.plans import CreateOptions
from dfx_backup.operations.preflight import new_entry, survey
from dfx_backup.operations.processes import ProcessStamp, is_alive, this_process
from dfx_backup.operations.recover import plan_recover, recover
from dfx_backup.operations.snapshot_create import create, plan_create
from dfx_backup.operations.state_files import write_whole
from tests.fakes.memory_driver import POOR
from tests.fakes.memory_management import How, reject
from tests.fakes.operations_world import NETWORK_ID, KilledError, World


def killed(world: World, method: str, how: How = How.RAISE) -> None:
    world.subnet.fail(method, how, error=KilledError())
    with pytest.raises(KilledError):
        create(world.run, world.target, CreateOptions())
    world.reborn()


def test_after_kill_9_every_command_can_tell_and_recover_finishes(world: World) -> None:
    killed(world, "take_canister_snapshot")
    assert world.chat.state is RunState.STOPPED
    left = pending(world.state)
    assert "chat" in left[0].summary
    assert "`taking`" in left[0].summary
    assert left[0].network == world.target.network
    with pytest.raises(RefusedError, match="finished first"):
        plan_create(world.run, world.target, CreateOptions())

    plan = plan_recover(world.run, (world.target,))
    assert not plan.needs_consent
    assert "Start chat" in plan.actions[0].will[0]
    done = recover(world.run, (world.target,)).recovered[0]

    assert world.is_running
    assert done.started
    assert done.closed
    assert done.orphans == tuple(world.ids)
    assert any("may be its own" in text for text in done.warnings)
    assert len(world.ids) == 1
    assert pending(world.state) == ()


def test_a_canister_that_we_left_stopped_is_not_taken_for_one_that_may_stay_so(
    world: World,
) -> None:
    killed(world, "take_canister_snapshot")
    world.later(1000)  # nothing of the dead run can execute any more

    with pytest.raises(RefusedError, match="finished first"):
        create(world.run, world.target, CreateOptions(allow_stopped=True))

    assert len(pending(world.state)) == 1


def test_recover_waits_until_a_lost_stop_has_expired(world: World) -> None:
    killed(world, "stop_canister", How.RAISE_BEFORE)
    world.subnet.later(30, lambda: setattr(world.chat, "state", RunState.STOPPED))

    done = recover(world.run, (world.target,)).recovered[0]

    assert world.is_running
    assert done.started
    world.later()
    assert world.is_running


def test_a_signal_while_watching_leaves_the_entry(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(world, "stop_canister", How.RAISE)
    real = world.subnet.clock.sleep

    def interrupted(seconds: float) -> None:
        real(seconds)
        os.kill(os.getpid(), 15)

    monkeypatch.setattr(world.subnet.clock, "sleep", interrupted)
    with pytest.raises(InterruptedRunError, match="SIGTERM"):
        recover(world.run, (world.target,))
    assert world.is_running
    assert len(pending(world.state)) == 1


def test_a_canister_that_can_not_be_started_stays_pending(world: World) -> None:
    killed(world, "take_canister_snapshot")
    world.chat.frozen = True
    with pytest.raises(CanisterDownError) as caught:
        recover(world.run, (world.target,))
    assert "top the canister up" in (caught.value.hint or "")
    assert len(pending(world.state)) == 1


def test_one_canister_that_fails_does_not_keep_the_others(tmp_path: Path) -> None:
    one, other = World(tmp_path / "one"), World(tmp_path / "other")
    killed(other, "take_canister_snapshot")
    one.subnet.fail("canister_status", How.REJECT, error=reject(5, "IC0512", "no"))
    elsewhere = replace(one.target, network_id=NetworkId("cd" * 32))
    with pytest.raises(RejectError):
        recover(other.run, (elsewhere, other.target))
    assert other.is_running


def test_without_a_journal_stopped_canisters_are_offered(world: World) -> None:
    assert plan_recover(world.run, (world.target,)).actions == ()
    world.chat.state = RunState.STOPPED
    plan = plan_recover(world.run, (world.target,))
    assert plan.needs_consent

    left = recover(world.run, (world.target,)).recovered[0]
    assert not left.started
    assert left.state is RunState.STOPPED

    done = recover(world.run, (world.target,), start_stopped=True).recovered[0]
    assert done.started
    assert world.is_running


def test_a_run_that_is_under_way_is_not_pending(world: World) -> None:
    killed(world, "take_canister_snapshot")
    with canister_lock(world.run, world.target, purpose="snapshot create"):
        assert pending(world.state) == ()
        with pytest.raises(LockedError):
            recover(world.run, (world.target,))
    assert len(pending(world.state)) == 1


def test_an_entry_of_a_network_that_is_gone_can_be_dropped(world: World) -> None:
    killed(world, "take_canister_snapshot")
    with (
        canister_lock(world.run, world.target, purpose="x"),
        pytest.raises(LockedError, match="under way"),
    ):
        discard(world.state, pending_for_chat(world))
    discard(world.state, pending_for_chat(world))
    assert pending(world.state) == ()


def pending_for_chat(world: World) -> Pending:
    """The entry, also while a run is under way."""
    path = Journal(world.state).path(world.target.key)
    entry = Journal(world.state).read(world.target.key)
    assert entry is not None
    found = pending_for(world.state, NETWORK_ID, world.canister)
    return found or Pending(
        path=path,
        canister=entry.canister,
        network=entry.network,
        network_id=entry.network_id,
        driver=entry.driver,
        summary="",
    )


def test_a_canister_that_was_stopped_before_stays_stopped(world: World) -> None:
    world.chat.state = RunState.STOPPED
    world.subnet.fail("take_canister_snapshot", How.RAISE, error=KilledError())
    with pytest.raises(KilledError):
        create(world.run, world.target, CreateOptions(allow_stopped=True))
    world.reborn()

    done = recover(world.run, (world.target,)).recovered[0]

    assert done.closed
    assert not done.started
    assert world.chat.state is RunState.STOPPED


def test_a_stop_that_the_replica_refused_but_began_is_undone(world: World) -> None:
    """The replica rejects a stop after five minutes, and leaves the canister stopping."""
    world.chat.stuck = True

    def timed_out(*_args: object, before_send: object, **_more: object) -> None:
        assert callable(before_send)
        with pytest.raises(Exception, match="answer was lost"):
            world.management.stop(world.canister, timeout_s=1, before_send=before_send)
        raise reject(2, "IC0509", "Stop canister request timed out")

    world.driver.stop = timed_out  # type: ignore[method-assign] # one run, one failure
    with pytest.raises(RejectError):
        create(world.run, world.target, CreateOptions())
    assert world.is_running


# -- the files ------------------------------------------------------------------------------------


def an_entry(world: World) -> JournalEntry:
    call = JournaledCall(
        kind=CallKind.STOP, request_id="ab", expires_at=1.5, outcome=Outcome.EXECUTED
    )
    entry = new_entry(world.run, world.target, survey(world.target), RunKind.LOAD)
    return replace(
        entry,
        calls=(call,),
        step=Step.LOADING,
        network=replace(entry.network, root_key=b"\x30\x81"),
        canister=CanisterRef(canister_id=world.canister),
    )


def test_an_entry_comes_back_as_it_was(world: World) -> None:
    entry, journal = an_entry(world), Journal(world.state)
    journal.write(entry)
    assert journal.read(entry.key) == entry
    mode = stat.S_IMODE(journal.path(entry.key).stat().st_mode)
    assert mode == 0o600
    assert stat.S_IMODE(journal.folder.stat().st_mode) == 0o700
    journal.close(entry.key)
    assert journal.read(entry.key) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"[]", b"{}", b"nul", b'{"format": "dfx-backup journal"}', b"[" * 9999],
)
def test_garbage_in_the_journal_is_named_and_never_ignored(world: World, content: bytes) -> None:
    journal = Journal(world.state)
    journal.write(an_entry(world))
    path = journal.path(world.target.key)
    path.write_bytes(content)

    left = pending(world.state)

    assert str(path) in left[0].summary
    assert isinstance(left[0].problem, DamageError)
    for step in (
        lambda: create(world.run, world.target, CreateOptions()),
        lambda: plan_create(world.run, world.target, CreateOptions()),
        lambda: recover(world.run, (world.target,)),
    ):
        with pytest.raises(DamageError) as caught:
            step()
        assert str(path) in caught.value.message
    assert world.called("stop_canister") == 0
    assert path.read_bytes() == content


def test_every_field_of_an_entry_is_checked(world: World) -> None:
    journal = Journal(world.state)
    journal.write(an_entry(world))
    path = journal.path(world.target.key)
    good = json.loads(path.read_text())
    for name in good:
        for wrong in (None, 7, "x", [7], {"a": 1}, True, -1.0, 1e300):
            if wrong == good[name] and type(wrong) is type(good[name]):
                continue
            path.write_text(json.dumps({**good, name: wrong}))
            try:
                entry = journal.read(world.target.key)
            except (DamageError, ProjectError) as error:
                assert str(path) in error.message  # noqa: PT017 - both ways are right
            else:
                assert entry is not None
            assert len(pending(world.state)) == 1


def test_a_newer_journal_is_named_and_left_alone(world: World) -> None:
    journal = Journal(world.state)
    journal.write(an_entry(world))
    path = journal.path(world.target.key)
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 2}))
    with pytest.raises(ProjectError, match="newer version"):
        create(world.run, world.target, CreateOptions())
    assert pending(world.state)[0].problem is not None


def test_a_file_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.json"
    write_whole(path, {"old": True})
    before = path.read_bytes()

    def broken(_self: Path, _to: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(ProjectError, match="No space left"):
        write_whole(path, {"new": True})
    assert path.read_bytes() == before


def test_a_reused_process_id_is_another_process() -> None:
    mine = this_process()
    assert is_alive(mine)
    assert not is_alive(ProcessStamp(pid=mine.pid, started="another boot:1"))
    assert not is_alive(ProcessStamp(pid=2**22 - 1, started=None))
    assert is_alive(ProcessStamp(pid=os.getpid(), started=None))


def test_without_the_lock_file_the_process_decides(world: World) -> None:
    entry = an_entry(world)
    Journal(world.state).write(entry)
    assert len(pending(world.state)) == 1, "our own process does not run it any more"
    parent = ProcessStamp(pid=os.getppid(), started=None)
    Journal(world.state).write(replace(entry, process=parent))
    assert pending(world.state) == ()


def test_with_dfx_recover_waits_for_the_longer_expiry(tmp_path: Path) -> None:
    world = World(tmp_path, poor=POOR)
    killed(world, "stop_canister", How.RAISE_BEFORE)
    world.subnet.later(230, lambda: setattr(world.chat, "state", RunState.STOPPED))
    recover(world.run, (world.target,))
    world.later()
    assert world.is_running
