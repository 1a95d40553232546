"""What every driver must do, whatever tool it drives.

A driver's test class inherits `DriverSuite` and gives a `bench`: a network with a driver of a
controller, a driver of a stranger, and a way to look behind the driver's back.
"""

import contextlib
from abc import ABC, abstractmethod

import pytest

from dfx_backup.drivers.base import Driver
from dfx_backup.errors import NetworkError, RejectError, ToolError, UnknownOutcomeError
from dfx_backup.model import CanisterId, RunState, SentCall, SnapshotId

UNKNOWN_SNAPSHOT = SnapshotId("00000000000000ff000000000000a0010101")


class Bench(ABC):
    """A network with one canister on it.

    Attributes:
        driver: acts as a controller.
        stranger: acts as somebody who controls nothing.
        down: like `driver`, on a network that does not answer.
        canister: installed and running, its content `first`.
    """

    driver: Driver
    stranger: Driver
    down: Driver
    canister: CanisterId

    @abstractmethod
    def now(self) -> float:
        """Seconds since the epoch, by the driver's clock."""

    @abstractmethod
    def write(self, content: bytes) -> None:
        """Change the canister's content, whatever its state."""

    @abstractmethod
    def read(self) -> bytes:
        """The canister's content."""

    @abstractmethod
    def state(self) -> RunState:
        """The canister's state, behind the driver's back."""

    @abstractmethod
    def snapshots(self) -> list[SnapshotId]:
        """The canister's snapshots, behind the driver's back, in any order."""

    @abstractmethod
    def fill(self, count: int) -> None:
        """Make so many snapshots, behind the driver's back; the state stays."""

    @abstractmethod
    def empty_canister(self) -> CanisterId:
        """Another canister, stopped and without code."""

    @abstractmethod
    def absent_canister(self) -> CanisterId:
        """The id of a canister that is not there."""

    @abstractmethod
    def slow_stop(self) -> None:
        """From now on a stop does not finish within seconds."""

    @abstractmethod
    def lose_answer(self, method: str) -> None:
        """The next call of a management method executes, and its answer gets lost."""

    @abstractmethod
    def refuse(self, method: str, *, reject_code: int, error_code: str) -> None:
        """The next call of a management method is refused."""


class DriverSuite:
    """The tests; each gets a fresh bench."""

    # -- state ------------------------------------------------------------------------------------

    def test_status_tells_what_a_backup_needs(self, bench: Bench) -> None:
        status = bench.driver.status(bench.canister)
        assert status.state is RunState.RUNNING
        assert status.module_hash is not None
        assert len(status.module_hash) == 64
        assert status.controllers
        assert status.cycles is not None
        assert status.memory_bytes is not None
        assert status.freezing_threshold_s == 2_592_000
        assert (status.version is not None) is bench.driver.capabilities.reads_version

    def test_an_empty_canister_has_no_module_and_no_snapshots(self, bench: Bench) -> None:
        canister = bench.empty_canister()
        assert bench.driver.status(canister).module_hash is None
        assert bench.driver.list_snapshots(canister) == ()

    def test_stop_and_start(self, bench: Bench) -> None:
        bench.driver.stop(bench.canister, timeout_s=30)
        assert bench.state() is RunState.STOPPED
        assert bench.driver.status(bench.canister).state is RunState.STOPPED
        bench.driver.stop(bench.canister, timeout_s=30)  # what is stopped stays so
        assert bench.state() is RunState.STOPPED
        bench.driver.start(bench.canister)
        assert bench.state() is RunState.RUNNING
        bench.driver.start(bench.canister)  # and what runs goes on running
        assert bench.state() is RunState.RUNNING

    def test_a_start_of_a_frozen_canister_tells_its_code(self, bench: Bench) -> None:
        bench.refuse("start_canister", reject_code=2, error_code="IC0207")
        with pytest.raises(RejectError) as caught:
            bench.driver.start(bench.canister)
        assert (caught.value.reject_code, caught.value.error_code) == (2, "IC0207")

    # -- what is told before a call leaves --------------------------------------------------------

    def test_what_must_be_journaled_is_told_before_a_call_leaves(self, bench: Bench) -> None:
        sent: list[SentCall] = []
        states: list[RunState] = []

        def before_send(call: SentCall) -> None:
            sent.append(call)
            states.append(bench.state())

        begun = bench.now()
        bench.driver.stop(bench.canister, timeout_s=30, before_send=before_send)
        assert states == [RunState.RUNNING]
        made = bench.driver.take_snapshot(bench.canister, before_send=before_send)
        bench.driver.load_snapshot(bench.canister, made.snapshot_id, before_send=before_send)
        assert states == [RunState.RUNNING, RunState.STOPPED, RunState.STOPPED]
        assert all(call.expires_at > begun for call in sent)

    def test_a_call_whose_journal_fails_is_kept_back(self, bench: Bench) -> None:
        class FullDiskError(Exception):
            pass

        def fail(_call: SentCall) -> None:
            raise FullDiskError

        with pytest.raises(FullDiskError):
            bench.driver.stop(bench.canister, timeout_s=30, before_send=fail)
        assert bench.state() is RunState.RUNNING
        bench.driver.stop(bench.canister, timeout_s=30)
        with pytest.raises(FullDiskError):
            bench.driver.take_snapshot(bench.canister, before_send=fail)
        assert bench.snapshots() == []

    # -- snapshots --------------------------------------------------------------------------------

    def test_a_snapshot_brings_the_content_back(self, bench: Bench) -> None:
        bench.driver.stop(bench.canister, timeout_s=30)
        made = bench.driver.take_snapshot(bench.canister)
        assert bench.snapshots() == [made.snapshot_id]
        bench.write(b"second")
        bench.driver.load_snapshot(bench.canister, made.snapshot_id)
        assert bench.state() is RunState.STOPPED
        assert bench.read() == b"first"

    def test_snapshots_are_listed_oldest_first(self, bench: Bench) -> None:
        assert bench.driver.list_snapshots(bench.canister) == ()
        bench.fill(3)
        listed = bench.driver.list_snapshots(bench.canister)
        assert [each.snapshot_id for each in listed] == sorted(bench.snapshots())
        for each in listed:
            assert each.taken_at_ns is not None
            assert abs(each.taken_at_ns / 1e9 - bench.now()) < 60
            assert (each.size_bytes is not None) is bench.driver.capabilities.exact_sizes

    def test_a_replaced_snapshot_is_gone_and_the_new_one_has_an_id_of_its_own(
        self, bench: Bench
    ) -> None:
        bench.fill(10)  # replacing works without a free slot
        bench.driver.stop(bench.canister, timeout_s=30)
        old = bench.snapshots()[4]
        made = bench.driver.take_snapshot(bench.canister, replace=old)
        assert made.snapshot_id != old
        assert old not in bench.snapshots()
        assert made.snapshot_id in bench.snapshots()
        assert len(bench.snapshots()) == 10

    def test_an_eleventh_snapshot_is_refused(self, bench: Bench) -> None:
        bench.fill(10)
        bench.driver.stop(bench.canister, timeout_s=30)
        with pytest.raises(RejectError) as caught:
            bench.driver.take_snapshot(bench.canister)
        assert caught.value.error_code == "IC0406"
        assert len(bench.snapshots()) == 10

    def test_a_deleted_snapshot_is_gone(self, bench: Bench) -> None:
        bench.fill(2)
        first, second = sorted(bench.snapshots())
        bench.driver.delete_snapshot(bench.canister, first)
        assert bench.snapshots() == [second]

    def test_an_unknown_snapshot_is_refused(self, bench: Bench) -> None:
        bench.driver.stop(bench.canister, timeout_s=30)
        with pytest.raises(RejectError) as deleting:
            bench.driver.delete_snapshot(bench.canister, UNKNOWN_SNAPSHOT)
        with pytest.raises(RejectError) as loading:
            bench.driver.load_snapshot(bench.canister, UNKNOWN_SNAPSHOT)
        assert (deleting.value.error_code, loading.value.error_code) == ("IC0305", "IC0305")

    def test_an_empty_canister_has_nothing_to_take(self, bench: Bench) -> None:
        with pytest.raises(RejectError) as caught:
            bench.driver.take_snapshot(bench.empty_canister())
        assert caught.value.error_code == "IC0406"

    def test_only_some_drivers_take_running_canisters(self, bench: Bench) -> None:
        if bench.driver.capabilities.take_running:
            made = bench.driver.take_snapshot(bench.canister)
            assert bench.snapshots() == [made.snapshot_id]
        else:
            with pytest.raises(ToolError):
                bench.driver.take_snapshot(bench.canister)
            assert bench.snapshots() == []
        assert bench.state() is RunState.RUNNING

    # -- refusals and failures --------------------------------------------------------------------

    def test_a_stranger_is_refused_everything_that_changes(self, bench: Bench) -> None:
        stranger = bench.stranger
        for attempt in (
            lambda: stranger.status(bench.canister),
            lambda: stranger.stop(bench.canister, timeout_s=30),
            lambda: stranger.start(bench.canister),
            lambda: stranger.delete_snapshot(bench.canister, UNKNOWN_SNAPSHOT),
        ):
            with pytest.raises(RejectError) as caught:
                attempt()
            assert (caught.value.reject_code, caught.value.error_code) == (5, "IC0512")
        assert bench.state() is RunState.RUNNING

    def test_an_unknown_canister_is_refused(self, bench: Bench) -> None:
        with pytest.raises(NetworkError) as caught:
            bench.driver.status(bench.absent_canister())
        assert not isinstance(caught.value, UnknownOutcomeError)

    def test_a_network_that_is_down_is_one_clear_error(self, bench: Bench) -> None:
        with pytest.raises(NetworkError) as caught:
            bench.down.status(bench.canister)
        assert not isinstance(caught.value, RejectError | UnknownOutcomeError)
        with pytest.raises(NetworkError):
            bench.down.stop(bench.canister, timeout_s=5)

    def test_a_stop_that_takes_too_long_has_an_unknown_outcome(self, bench: Bench) -> None:
        bench.slow_stop()
        begun = bench.now()
        with pytest.raises(UnknownOutcomeError) as caught:
            bench.driver.stop(bench.canister, timeout_s=1.5)
        assert caught.value.expires_at > begun
        assert caught.value.expires_at < begun + 30 + bench.driver.capabilities.slowest_expiry_s

    def test_a_take_whose_answer_was_lost_is_never_sent_twice(self, bench: Bench) -> None:
        bench.driver.stop(bench.canister, timeout_s=30)
        bench.lose_answer("take_canister_snapshot")
        made = None
        with contextlib.suppress(UnknownOutcomeError):  # or the answer is found by asking again
            made = bench.driver.take_snapshot(bench.canister)
        assert len(bench.snapshots()) == 1
        assert made is None or bench.snapshots() == [made.snapshot_id]

    def test_the_driver_names_itself(self, bench: Bench) -> None:
        assert bench.driver.describe()
        assert bench.driver.name.value in bench.driver.describe()
