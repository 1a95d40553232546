"""Options, plans and results of `restore`: frozen values, ready to be printed."""

from collections.abc import Callable
from dataclasses import dataclass

from dfx_backup.errors import BackupError
from dfx_backup.model import CanisterRef, Network, NetworkId, SnapshotId
from dfx_backup.operations.backups import Backup
from dfx_backup.operations.plans import CyclesCheck, LoadPlan, LoadResult
from dfx_backup.operations.setting_changes import SettingsPlan
from dfx_backup.operations.transfer_plans import SendOptions, SnapshotUploadPlan
from dfx_backup.transfer.terms import DEFAULT_WINDOW, ReadBack, UploadReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A command of the user that tells whether the restored canister is well.

    Attributes:
        text: as it was typed.
        run: runs it to its end.
    """

    text: str
    run: Callable[[], None]
    """Raises a `ToolError` when the command fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOptions:
    """What `restore` was asked for.

    Attributes:
        settings: apply the backup's settings in the end.
        clone: leave the global timer out; a copy with a heartbeat stays stopped.
        start: start a clone all the same.
        check: runs after the start, or None.
        rollback: go back when the check fails.
        skip_safety_snapshot: do not keep the present state.
        replace: snapshot that the safety snapshot replaces, or None.
        allow_stopped: go on when the canister is found stopped, and leave it stopped.
        read_back: how much is read and compared before the load.
        window: most slices in flight.
        seed: of the sample that is read back.
        tool: name and version of the program.
    """

    settings: bool = False
    clone: bool = False
    start: bool = False
    check: Check | None = None
    rollback: bool = False
    skip_safety_snapshot: bool = False
    replace: SnapshotId | None = None
    allow_stopped: bool = False
    read_back: ReadBack = ReadBack.SAMPLED
    window: int = DEFAULT_WINDOW
    seed: int = 0
    tool: str = "dfx-backup"

    @property
    def sending(self) -> SendOptions:
        """The part that an upload knows."""
        return SendOptions(
            window=self.window, clone=self.clone, read_back=self.read_back, seed=self.seed
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePlan:
    """What restoring one backup will do.

    Attributes:
        backup: what is restored.
        upload: the first part, while the canister goes on as it is.
        load: the second part; its snapshot has no id yet.
        starts: whether the canister runs at the end.
        elsewhere: it is another canister, or another network, than the backup's own.
        settings: what changes in the settings, or None when they stay.
        check: the command that runs after the start, or None.
        rollback: whether a failing check loads the safety snapshot.
        will_be_lost: one sentence for each thing that will be gone.
        warnings: one sentence for each thing to know.
        quicker: those of them that name another way; nobody needs them afterwards.
    """

    backup: Backup
    upload: SnapshotUploadPlan
    load: LoadPlan
    starts: bool
    elsewhere: bool
    settings: SettingsPlan | None = None
    check: str | None = None
    rollback: bool = False
    will_be_lost: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    quicker: tuple[str, ...] = ()

    @property
    def remarks(self) -> tuple[str, ...]:
        """The warnings that hold when all is done."""
        return tuple(each for each in self.warnings if each not in self.quicker)

    @property
    def canister(self) -> CanisterRef:
        """The canister that is overwritten."""
        return self.upload.canister

    @property
    def network(self) -> Network:
        """The network it lives on."""
        return self.upload.network

    @property
    def network_id(self) -> NetworkId:
        """That network's identity."""
        return self.upload.network_id

    @property
    def driver(self) -> str:
        """The tool and its version."""
        return self.upload.driver

    @property
    def cycles(self) -> CyclesCheck:
        """Whether the balance carries all of it."""
        return self.load.cycles


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreResult:
    """What restoring one backup did.

    Attributes:
        plan: what was planned.
        snapshot_id: the snapshot that was uploaded and loaded.
        report: what the upload did, or None when the driver did it.
        load: what the load did.
        upload_deleted: the uploaded snapshot is gone again.
        checked: whether the check was passed; None without one.
        rolled_back: what going back did, or None.
        settings_applied: the settings are the backup's.
        level: that was noted for the backup, or None.
        failure: the check's error, or None; it decides the exit code.
        incomplete: one sentence for each thing that is not as it should be; not empty: exit 3.
        warnings: one sentence for each thing to know.
    """

    plan: RestorePlan
    snapshot_id: SnapshotId
    report: UploadReport | None
    load: LoadResult
    upload_deleted: bool = False
    checked: bool | None = None
    rolled_back: LoadResult | None = None
    settings_applied: bool = False
    level: int | None = None
    failure: BackupError | None = None
    incomplete: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def running(self) -> bool:
        """Whether the canister was seen running at the end."""
        return self.load.running if self.rolled_back is None else self.rolled_back.running


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPlan:
    """What restoring a set will do; `plans` come in the order in which canisters are stopped."""

    set_id: str
    plans: tuple[RestorePlan, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetResult:
    """What restoring a set did; `failure` is the check's error, or None."""

    plan: SetPlan
    results: tuple[RestoreResult, ...]
    failure: BackupError | None = None
