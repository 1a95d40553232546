"""The upgrade that rebuilds a heap while the canister is held: lost, late, refused, killed."""

from pathlib import Path
from typing import Any

import pytest

from dfx_backup.errors import BackupError, RejectError, UnknownOutcomeError, UsageError
from dfx_backup.ic.canister_settings import CanisterSettings, FullStatus
from dfx_backup.model import RunState, SnapshotId
from dfx_backup.operations.direct import Direct
from dfx_backup.operations.ledger import SAFETY, Ledger
from dfx_backup.operations.plans import CreateOptions, LoadOptions
from dfx_backup.operations.recover import RecoverResult, recover
from dfx_backup.operations.snapshot_create import create
from dfx_backup.operations.snapshot_load import LoadResult, load
from dfx_backup.operations.stable_held import BASE, InUse, SnapshotRecord
from dfx_backup.operations.stable_rebuild import Loading
from dfx_backup.operations.stable_snapshot_export import plan_export
from dfx_backup.operations.stable_snapshot_plans import SnapshotExportOptions
from tests.fakes.memory_management import How, MemoryCanister, reject
from tests.fakes.operations_world import KilledError, MortalManagement, World

IMPORTED = b"imported"
REBUILT = b"rebuilt from imported"


class Calls:
    """Direct calls of the management canister that can upgrade."""

    def __init__(self, management: MortalManagement) -> None:
        self.management = management
        self.states: list[RunState] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.management, name)

    def full_status(self, canister: Any, *, within_s: float | None = None) -> FullStatus:
        status = self.management.status(canister, within_s=within_s)
        return FullStatus(status=status, settings=CanisterSettings())

    def install_code(
        self, canister: Any, module: bytes, *, mode: str, skip_pre_upgrade: bool, before_send: Any
    ) -> None:
        assert (module, mode, skip_pre_upgrade) == (b"\0asm", "upgrade", True)

        def upgrade(target: MemoryCanister) -> None:
            self.states.append(target.state)
            target.content = b"rebuilt from " + target.content
            target.version += 1

        self.management._call(
            "install_code", canister, upgrade, before_send=before_send, expiry_s=60
        )


class Stage:
    """A canister that holds `old`, and a snapshot that holds what is imported."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.chat.content = IMPORTED
        self.snapshot = create(world.run, world.target, CreateOptions()).snapshot.snapshot_id
        world.chat.content = b"old"
        self.calls = Calls(world.management)
        direct = Direct(calls=self.calls, slices=self.calls)  # type: ignore[arg-type] # enough of it
        object.__setattr__(world.target, "direct", direct)
        self.record = SnapshotRecord(world.run, world.target, BASE, "copy")
        self.used = InUse(
            canister_id=world.target.canister_id,
            network_id=world.target.network_id,
            snapshot_id=SnapshotId("00"),
            file="copy",
            acknowledged=True,
            taken_at_ns=1,
            copied=True,
        )
        self.record.write(self.used)

    def load(self, module: bytes | None = b"\0asm") -> LoadResult:
        world = self.world
        steps = Loading(world.run, world.target, self.record, self.used, module)
        try:
            return load(world.run, world.target, LoadOptions(snapshot=self.snapshot), steps=steps)
        except BackupError:  # as `import_` does
            steps.settle()
            raise

    @property
    def is_loading(self) -> bool:
        used = self.record.read()
        assert used is not None
        return used.loading

    def recover(self) -> RecoverResult:
        self.world.reborn()
        return recover(self.world.run, (self.world.target,))


@pytest.fixture
def stage(world: World) -> Stage:
    return Stage(world)


def test_load_and_upgrade_are_one_outage(stage: Stage) -> None:
    result = stage.load()

    assert stage.world.chat.content == REBUILT
    assert stage.calls.states == [RunState.STOPPED]
    assert stage.world.called("stop_canister") == 2  # one to take what is imported
    assert result.confirmed
    assert stage.is_loading  # until somebody forgets it
    assert not stage.world.journal_files


def test_without_a_module_nothing_is_installed(stage: Stage) -> None:
    assert stage.load(None).confirmed

    assert stage.world.chat.content == IMPORTED
    assert not stage.calls.states


@pytest.mark.parametrize(("how", "calls"), [(How.LOST, 1), (How.NEVER, 2)])
def test_a_lost_answer(stage: Stage, how: How, calls: int) -> None:
    stage.world.subnet.fail("install_code", how)

    assert stage.load().confirmed

    assert stage.world.chat.content == REBUILT
    assert stage.world.called("install_code") == calls


def test_a_late_one_comes_before_the_start(stage: Stage) -> None:
    stage.world.subnet.fail("install_code", How.LATE, delay_s=30)

    stage.load()
    stage.world.later()

    assert stage.calls.states == [RunState.STOPPED]
    assert stage.world.chat.content == REBUILT
    assert stage.world.called("install_code") == 1


def test_two_lost_answers_go_back(stage: Stage) -> None:
    stage.world.subnet.fail("install_code", How.NEVER, times=2)

    with pytest.raises(UnknownOutcomeError) as caught:
        stage.load()

    assert "was not rebuilt" in caught.value.message
    assert "former state again" in (caught.value.hint or "")
    assert stage.world.chat.content == b"old"
    assert stage.world.is_running


def test_a_trap_goes_back(stage: Stage) -> None:
    error = reject(5, "IC0503", "Canister trapped")
    stage.world.subnet.fail("install_code", How.REJECT, error=error)

    with pytest.raises(RejectError) as caught:
        stage.load()

    assert "was not rebuilt" in caught.value.message
    safety = stage.world.ids[-1]
    assert f"snapshot {safety}; only a global timer" in (caught.value.hint or "")
    assert stage.world.chat.content == b"old"
    assert stage.world.is_running
    assert not stage.is_loading  # the same upload can be gone on with
    assert not stage.world.journal_files


def test_going_back_can_fail_too(stage: Stage) -> None:
    error = reject(5, "IC0503", "Canister trapped")
    stage.world.subnet.fail("install_code", How.REJECT, error=error)
    refused = reject(5, "IC0408", "no")
    stage.world.subnet.fail("load_canister_snapshot", How.REJECT, skip=1, error=refused)

    with pytest.raises(RejectError) as caught:
        stage.load()

    assert "going back failed" in (caught.value.hint or "")
    assert f"snapshot load {stage.world.canister} {stage.world.ids[-1]}" in (
        caught.value.hint or ""
    )
    assert stage.world.is_running
    assert stage.is_loading


def test_busy_is_tried_again(stage: Stage) -> None:
    stage.world.subnet.fail("install_code", How.REJECT, times=2)

    assert stage.load().confirmed

    assert stage.world.chat.content == REBUILT
    assert stage.world.called("install_code") == 3


@pytest.mark.parametrize(
    ("method", "how", "content", "told"),
    [
        ("load_canister_snapshot", How.RAISE, IMPORTED, ""),  # the load itself is not known
        ("install_code", How.RAISE_BEFORE, IMPORTED, "may not have been rebuilt"),
        ("install_code", How.RAISE, REBUILT, "may not have been rebuilt"),
        ("start_canister", How.RAISE_BEFORE, REBUILT, None),
    ],
)
def test_killed(stage: Stage, method: str, how: How, content: bytes, told: str | None) -> None:
    world = stage.world
    world.subnet.fail(method, how, error=KilledError())
    with pytest.raises(KilledError):
        stage.load()

    [one] = stage.recover().recovered

    assert world.is_running
    assert world.chat.content == content
    assert stage.is_loading
    heap = [each for each in one.warnings if each.startswith("The heap of")]
    assert len(heap) == (told is not None), one.warnings
    assert all((told or "") in each for each in heap)
    ours = Ledger(world.state, world.target.key).read()
    assert any(each.purpose == SAFETY for each in ours)


def test_recover_waits_for_a_late_upgrade(stage: Stage) -> None:
    world = stage.world
    world.subnet.fail("install_code", How.LATE, delay_s=20)
    real = stage.calls.install_code

    def killed(*args: Any, **more: Any) -> None:
        try:
            real(*args, **more)
        except UnknownOutcomeError:
            world.management.die()
            raise KilledError from None

    stage.calls.install_code = killed  # type: ignore[method-assign]
    with pytest.raises(KilledError):
        stage.load()

    stage.recover()
    world.later()

    assert stage.calls.states == [RunState.STOPPED]
    assert world.is_running
    assert world.chat.content == REBUILT


def test_without_a_key_nothing_can_be_read(world: World) -> None:
    options = SnapshotExportOptions(file=Path("copy"))

    with pytest.raises(UsageError, match="needs the identity's key"):
        plan_export(world.run, world.target, options)
