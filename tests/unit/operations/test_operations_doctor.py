import fcntl
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from dfx_backup.errors import (
    BackupError,
    CanisterDownError,
    InterruptedRunError,
    LockedError,
    NetworkError,
    ProjectError,
    ToolError,
)
from dfx_backup.model import CanisterStatus, NetworkId, RunState
from dfx_backup.operations import cycles
from dfx_backup.operations.direct import Direct
from dfx_backup.operations.doctor import DoctorResult, Topic, Verdict, doctor
from dfx_backup.operations.journal import Journal, RunKind
from dfx_backup.operations.locks import canister_lock, is_held, lock_path
from dfx_backup.operations.plans import CreateOptions
from dfx_backup.operations.preflight import new_entry, survey
from dfx_backup.operations.snapshot_create import create
from tests.fakes.healthy import healthy, named
from tests.fakes.memory_management import How
from tests.fakes.memory_transfer import MemoryTransfer
from tests.fakes.operations_world import KilledError, World


def fails(error: BackupError) -> str:
    raise error


def look(world: World, **changed: object) -> DoctorResult:
    management = MemoryTransfer(world.subnet)
    target = replace(named(world.target), direct=Direct(calls=management, slices=management))
    values: dict[str, object] = {"targets": lambda: (target,), "journaled": lambda _: target}
    return doctor(world.run, healthy(**(values | changed)))


def found(result: DoctorResult, name: str) -> Verdict:
    return next(finding.state for finding in result.findings if finding.name == name)


def test_everything_in_order_is_one_finding_each(world: World) -> None:
    result = look(world)
    assert result.exit_code == 0
    repository = {Topic.REPOSITORY, Topic.PASSWORD, Topic.LOCKS, Topic.VERIFIED, Topic.DISK}
    topics = [finding.topic for finding in result.findings]
    assert len(topics) == len(set(topics))
    assert set(topics) == set(Topic) - repository
    assert {finding.state for finding in result.findings} == {Verdict.OK}
    assert found(result, "chat: free slots") is Verdict.OK


def test_a_part_that_fails_does_not_stop_the_others(world: World) -> None:
    result = look(
        world,
        driver=lambda: fails(ToolError("no dfx", hint="install it")),
        network=lambda: fails(NetworkError("refused")),
    )
    assert result.exit_code == ToolError.exit_code
    [driver] = [each for each in result.findings if each.topic is Topic.DRIVER]
    assert driver.advice == "install it"
    assert found(result, "identity") is Verdict.OK
    assert found(result, "canisters") is Verdict.WARN
    result = look(world, targets=lambda: fails(ProjectError("no dfx.json")))
    assert found(result, "canisters") is Verdict.FAIL


def test_what_is_wrong_with_a_canister_is_told(world: World) -> None:
    world.taken(10)
    world.chat.state = RunState.STOPPED
    world.chat.cycles = 5
    result = look(world)
    assert found(result, "chat: status") is Verdict.WARN
    assert found(result, "chat: free slots") is Verdict.WARN
    assert found(result, "chat: cycles") is Verdict.FAIL
    assert result.exit_code == 60

    world.chat.controllers = ()
    assert found(look(world), "chat: controller") is Verdict.FAIL


def left_between_stop_and_start(world: World) -> None:
    world.subnet.fail("take_canister_snapshot", How.RAISE_BEFORE, error=KilledError())
    with pytest.raises(KilledError):
        create(world.run, world.target, CreateOptions())
    world.reborn()


def test_a_canister_that_an_interrupted_run_left_stopped_is_urgent(world: World) -> None:
    left_between_stop_and_start(world)
    result = look(world, network=lambda: fails(NetworkError("refused")))
    assert result.exit_code == CanisterDownError.exit_code
    [left] = [each for each in result.findings if each.name == "recovery"]
    assert "chat was running, and is stopped now" in left.detail
    assert f"recover {world.canister} --network local" in (left.advice or "")

    world.driver.start(world.canister)
    assert look(world).exit_code == 0
    assert found(look(world), "recovery") is Verdict.WARN


def test_an_interrupted_run_that_can_not_be_looked_at_is_told_all_the_same(world: World) -> None:
    left_between_stop_and_start(world)
    result = look(world, journaled=lambda _: fails(NetworkError("refused")))
    assert result.exit_code == 0
    assert found(result, "recovery") is Verdict.WARN


def test_an_interrupted_run_on_a_network_that_was_reset_can_be_dropped(world: World) -> None:
    left_between_stop_and_start(world)
    another = replace(world.target, network_id=NetworkId("cd" * 32))
    result = look(world, journaled=lambda _: another)
    assert result.exit_code == 0
    [left] = [each for each in result.findings if each.name == "recovery"]
    assert "another one now" in left.detail
    assert f"recover {world.journal_files[0].name} --discard" in (left.advice or "")


def test_pending_recoveries_and_damaged_journals_are_told(world: World) -> None:
    entry = new_entry(world.run, world.target, survey(world.target), RunKind.CREATE)
    Journal(world.state).write(entry)
    assert found(look(world), "recovery") is Verdict.WARN
    Journal(world.state).path(entry.key).write_text("{")
    assert look(world).exit_code == 20


def test_a_state_directory_that_can_not_be_written_is_told(world: World) -> None:
    world.state.parent.mkdir(exist_ok=True)
    world.state.write_text("in the way")
    result = look(world)
    assert found(result, "state directory") is Verdict.FAIL
    assert result.exit_code == 30


def test_an_interruption_is_no_finding(world: World) -> None:
    with pytest.raises(InterruptedRunError):
        look(world, network=lambda: fails(InterruptedRunError("SIGINT")))


# -- cycles ---------------------------------------------------------------------------------------


def status(**changed: int | None) -> CanisterStatus:
    plain = CanisterStatus(
        state=RunState.RUNNING,
        module_hash="00",
        memory_bytes=cycles.GIB,
        snapshots_bytes=0,
        cycles=3_000_000_000_000,
        reserved_cycles=0,
        idle_cycles_per_day=10_970_000_000,
        freezing_threshold_s=30 * 86_400,
    )
    return replace(plain, **changed)  # type: ignore[arg-type] # as named above


def test_a_gib_needs_what_a_month_of_it_costs_at_the_higher_rate() -> None:
    check = cycles.check(status(), added_bytes=cycles.GIB, cost=0)
    assert check.storage_per_day == 317_500 * 86_400
    assert check.required == 30 * (10_970_000_000 + 317_500 * 86_400)
    assert check.top_up == 0


def test_the_balance_counts_to_the_last_cycle() -> None:
    needed = 30 * (10_970_000_000 + 317_500 * 86_400) + 7
    exact = cycles.check(status(cycles=needed), added_bytes=cycles.GIB, cost=7)
    short = cycles.check(status(cycles=needed - 1), added_bytes=cycles.GIB, cost=7)
    assert (exact.top_up, short.top_up) == (0, 1)


def test_reserved_cycles_count_and_free_subnets_need_nothing() -> None:
    plain = cycles.check(status(), added_bytes=cycles.GIB, cost=0)
    reserved = cycles.check(status(reserved_cycles=1_000), added_bytes=cycles.GIB, cost=0)
    assert plain.required is not None
    assert reserved.required == plain.required - 1_000
    free = cycles.check(status(idle_cycles_per_day=0, cycles=0), added_bytes=cycles.GIB, cost=5)
    assert free.top_up == 0


@pytest.mark.parametrize("name", ["cycles", "idle_cycles_per_day", "freezing_threshold_s"])
def test_what_is_not_told_is_no_refusal(name: str) -> None:
    check = cycles.check(status(**{name: None}), added_bytes=1, cost=1)
    assert check.unknown
    assert check.top_up == 0


# -- locks ----------------------------------------------------------------------------------------


def test_a_run_may_wait_for_the_lock(world: World) -> None:
    path = lock_path(world.state, world.target.key)
    path.parent.mkdir(parents=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    waiting = replace(world.run, lock_wait_s=30)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        world.subnet.clock.now += seconds
        if len(slept) == 5:
            os.close(handle)

    world.run.clock.sleep = sleep  # type: ignore[method-assign] # lets the other run end
    with canister_lock(waiting, world.target, purpose="second"):
        assert is_held(path)
    assert len(slept) == 5
    assert not is_held(path)


def test_waiting_for_the_lock_ends(world: World) -> None:
    waiting = replace(world.run, lock_wait_s=3)
    with (
        canister_lock(world.run, world.target, purpose="first"),
        pytest.raises(LockedError, match="first"),
        canister_lock(waiting, world.target, purpose="second"),
    ):
        pass
    assert 3 <= sum(world.subnet.clock.slept) < 5


def test_other_canisters_are_not_locked(world: World) -> None:
    other = world.subnet.create()
    elsewhere = replace(world.target, ref=replace(world.target.ref, canister_id=other, name=None))
    with (
        canister_lock(world.run, world.target, purpose="one"),
        canister_lock(world.run, elsewhere, purpose="other"),
    ):
        assert is_held(lock_path(world.state, elsewhere.key))


def test_two_who_only_ask_do_not_disturb_each_other(world: World, tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    path.touch()
    answers: set[bool | None] = set()
    threads = [
        threading.Thread(target=lambda: answers.update(is_held(path) for _ in range(200)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {False}
    assert is_held(tmp_path / "none") is None
    assert world.called("canister_status") == 0
