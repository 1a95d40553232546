"""Canisters that are restored together, when something comes between."""

from collections.abc import Iterable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from dfx_backup.errors import CanisterDownError, DamageError, RefusedError
from dfx_backup.ic.canister_settings import Audience, CanisterSettings, Visibility
from dfx_backup.model import CanisterRef, RunState
from dfx_backup.operations.backup_set import in_order
from dfx_backup.operations.backup_source import _joined
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.journal import (
    CallKind,
    Journal,
    JournaledCall,
    JournalEntry,
    OpenEntry,
    Outcome,
    RunKind,
    Side,
)
from dfx_backup.operations.preflight import new_entry, survey
from dfx_backup.operations.recover import finish_what_is_over, plan_recover, recover
from dfx_backup.operations.set_sides import Member, to_one_side
from dfx_backup.operations.setting_changes import setting_changes
from dfx_backup.operations.target import Target
from tests.fakes.memory_management import How
from tests.fakes.operations_world import World

PAGE = 65536


class Couple:
    """Two canisters that were stopped together: each has a safety snapshot and an uploaded one."""

    def __init__(self, world: World) -> None:
        self.world = world
        other = world.subnet.create(content=b"new")
        self.targets = (
            world.target,
            replace(world.target, ref=CanisterRef(canister_id=other, name="mail")),
        )
        self.entries: list[JournalEntry] = []
        keys = tuple(target.key for target in self.targets)
        for target in self.targets:
            canister = world.subnet[target.canister_id]
            canister.content = b"old"
            uploaded = world.management._take(canister, None).snapshot_id
            canister.content = b"new"
            entry = new_entry(world.run, target, survey(target), RunKind.LOAD)
            safety = world.management._take(canister, None).snapshot_id
            canister.state = RunState.STOPPED
            self.entries.append(
                replace(
                    entry,
                    calls=(self._call(CallKind.STOP),),
                    snapshot_id=safety,
                    acknowledged=True,
                    restores=uploaded,
                    set_keys=keys,
                )
            )

    def _call(self, kind: CallKind, outcome: Outcome = Outcome.EXECUTED) -> JournaledCall:
        return JournaledCall(kind=kind, request_id=None, expires_at=0.0, outcome=outcome)

    def load(self, number: int, *, outcome: Outcome = Outcome.EXECUTED) -> None:
        """The run loaded what it had uploaded, or nobody knows whether it did."""
        entry = self.entries[number]
        self.world.subnet[self.targets[number].canister_id].content = b"old"
        known = entry.restores if outcome is Outcome.EXECUTED else None
        self.entries[number] = replace(
            entry,
            calls=(*entry.calls, self._call(CallKind.LOAD, outcome)),
            loading=entry.restores,
            loaded=known,
        )

    def without_safety(self) -> None:
        self.entries = [replace(each, snapshot_id=None) for each in self.entries]

    def write(self, *numbers: int) -> None:
        for number in numbers or range(2):
            Journal(self.world.state).write(self.entries[number])

    @property
    def said(self) -> tuple[bytes, ...]:
        return tuple(self.world.subnet[each.canister_id].content for each in self.targets)

    @property
    def run(self) -> bool:
        states = {self.world.subnet[each.canister_id].state for each in self.targets}
        return states == {RunState.RUNNING}


@pytest.fixture
def couple(world: World) -> Couple:
    return Couple(world)


def go(couple: Couple, targets: Iterable[Target] | None = None) -> Any:
    return recover(couple.world.run, tuple(targets or couple.targets))


class TestRecover:
    @pytest.mark.parametrize("outcome", [Outcome.EXECUTED, Outcome.UNKNOWN])
    def test_half_a_set_goes_back(self, couple: Couple, outcome: Outcome) -> None:
        couple.load(0, outcome=outcome)
        couple.write()

        go(couple)

        assert couple.said == (b"new", b"new")
        assert couple.run
        assert not couple.world.journal_files

    def test_without_safety_snapshots_it_goes_forward(self, couple: Couple) -> None:
        couple.load(0)
        couple.without_safety()
        couple.write()

        go(couple)

        assert couple.said == (b"old", b"old")
        assert couple.run

    @pytest.mark.parametrize("loads", [(), (0, 1)])
    def test_a_whole_set_is_only_started(self, couple: Couple, loads: tuple[int, ...]) -> None:
        for number in loads:
            couple.load(number)
        couple.write()
        before = couple.said

        go(couple)

        assert couple.said == before
        assert couple.run
        assert couple.world.called("load_canister_snapshot") == 0

    def test_what_can_not_be_made_whole_stays_stopped(self, couple: Couple) -> None:
        couple.load(0)
        couple.write()
        couple.world.subnet.fail("load_canister_snapshot", How.REJECT, times=99)

        with pytest.raises(CanisterDownError, match="partly restored"):
            go(couple)

        assert {couple.world.subnet[each.canister_id].state for each in couple.targets} == {
            RunState.STOPPED
        }
        assert len(couple.world.journal_files) == 2

    def test_one_of_them_alone_is_refused(self, couple: Couple) -> None:
        couple.load(0)
        couple.write()

        with pytest.raises(RefusedError, match="together with"):
            go(couple, couple.targets[:1])
        assert not couple.run

    def test_those_that_were_started_already_are_left_alone(self, couple: Couple) -> None:
        couple.load(0)
        couple.load(1)
        couple.write(1)  # the first one's entry was closed: the run had begun to start them
        couple.world.subnet[couple.targets[0].canister_id].state = RunState.RUNNING

        go(couple)

        assert couple.said == (b"old", b"old")
        assert couple.run

    def test_the_plan_says_so(self, couple: Couple) -> None:
        couple.write()

        plan = plan_recover(couple.world.run, couple.targets)

        assert all("old or new" in each.will[0] for each in plan.actions)

    def test_no_other_run_takes_it_for_finished(self, couple: Couple) -> None:
        couple.write()
        for target in couple.targets:
            couple.world.subnet[target.canister_id].state = RunState.RUNNING
        couple.world.later(1000)

        with pytest.raises(RefusedError, match="finished first"):
            finish_what_is_over(couple.world.run, couple.targets[0])


def test_nobody_guesses_what_to_load(couple: Couple) -> None:
    couple.load(0)
    couple.without_safety()
    journal = Journal(couple.world.state)
    members = [
        Member(target=target, book=OpenEntry(journal, replace(entry, restores=None)))
        for target, entry in zip(couple.targets, couple.entries, strict=True)
    ]

    with pytest.raises(CanisterDownError, match="no snapshot is known"):
        to_one_side(couple.world.run, members, Interrupts())


def test_an_entry_comes_back_as_it_was(couple: Couple) -> None:
    couple.load(0)
    couple.write(0)

    assert Journal(couple.world.state).read(couple.targets[0].key) == couple.entries[0]


def test_an_entry_of_before_there_were_sets(couple: Couple) -> None:
    entry = couple.entries[0]

    assert replace(entry, loaded=None).side is Side.OLD
    assert replace(entry, loaded=entry.restores).side is Side.NEW
    assert replace(entry, loaded=entry.snapshot_id).side is Side.OLD


def backup(canister: str, members: tuple[str, ...], problem: Any = None) -> Any:
    details = SimpleNamespace(set_canisters=members)
    return SimpleNamespace(canister_id=canister, details=details, problem=problem)


class TestInOrder:
    def test_it_is_that_of_the_stops(self) -> None:
        a, b = backup("a", ("b", "a")), backup("b", ("b", "a"))

        assert in_order([a, b], "set:1") == (b, a)

    @pytest.mark.parametrize(
        ("found", "why"),
        [
            ([backup("a", ("a", "b"))], "lacks the backups of b"),
            ([backup("a", ())], "does not tell"),
            ([backup("a", ("a",)), backup("a", ("a",))], "do not fit"),
            ([backup("a", ("a",)), backup("c", ("a",))], "do not fit"),
        ],
    )
    def test_what_is_no_whole_set(self, found: list[Any], why: str) -> None:
        with pytest.raises(RefusedError, match=why):
            in_order(found, "set:1")

    def test_one_that_can_not_be_read(self) -> None:
        with pytest.raises(DamageError):
            in_order([backup("a", ("a",), DamageError("no"))], "set:1")


def test_settings_side_by_side() -> None:
    old = CanisterSettings(
        controllers=("b", "a"),
        freezing_threshold=1,
        memory_allocation=5,
        environment_variables=(("A", "1"),),
        log_visibility=Visibility(audience=Audience.CONTROLLERS),
    )
    new = CanisterSettings(
        controllers=("a", "b"),
        freezing_threshold=2,
        environment_variables=(("A", "2"),),
        log_visibility=Visibility(audience=Audience.ALLOWED_VIEWERS, viewers=("x",)),
    )

    told = {each.name: (each.old, each.new) for each in setting_changes(old, new)}

    assert told == {
        "freezing_threshold": ("1", "2"),
        "environment_variables": ("A=1", "A=2"),
        "log_visibility": ("controllers", "allowed_viewers x"),
    }


@pytest.mark.parametrize(
    ("ranges", "joined"),
    [
        ([], []),
        ([(0, PAGE)], [(0, PAGE)]),
        ([(0, PAGE), (4 * PAGE, 5 * PAGE)], [(0, 5 * PAGE)]),
        ([(0, PAGE), (5 * PAGE, 6 * PAGE)], [(0, PAGE), (5 * PAGE, 6 * PAGE)]),
    ],
)
def test_short_runs_of_zeros_are_sent(
    ranges: list[tuple[int, int]], joined: list[tuple[int, int]]
) -> None:
    assert list(_joined(ranges)) == joined
