"""Controls canisters through dfx, one child process for each call."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dfx_backup.drivers import dfx_argv, dfx_output, process
from dfx_backup.drivers.base import (
    BeforeSend,
    Capabilities,
    Driver,
    FolderTransfer,
    ignore_sent,
)
from dfx_backup.drivers.dfx_errors import classify
from dfx_backup.drivers.environment import child_environment, locate_dfx
from dfx_backup.drivers.failures import EXPIRY_S
from dfx_backup.drivers.features import DfxFeature, ToolVersion, require_dfx
from dfx_backup.drivers.runner import CALL_TIMEOUT_S, PROBE_TIMEOUT_S, Once, Runner
from dfx_backup.model import (
    CanisterId,
    CanisterSnapshot,
    CanisterStatus,
    DriverName,
    SnapshotId,
)

# Not the echo of an answer, which repeats the prompt.
_PROMPT = r"[Pp]lease enter the passphrase for your identity: (?!\[hidden\])"


@dataclass(frozen=True, slots=True, kw_only=True)
class DfxTool:
    """A dfx that was found, and where it runs.

    Attributes:
        binary: its absolute path.
        version: what it says to be.
        environment: of the user, of which it sees a part.
        cwd: its working directory: the project's root, or None for ours.
    """

    binary: str
    version: ToolVersion
    environment: Mapping[str, str] = field(repr=False)
    cwd: str | None = None


def probe_dfx(
    *,
    cache_path: str | None,
    environment: Mapping[str, str],
    cwd: str | None = None,
    timeout_s: float = PROBE_TIMEOUT_S,
) -> DfxTool | None:
    """Find dfx and ask it for its version; None when there is none.

    Raises:
        ToolError: it is there, but does not tell a version.
    """
    binary = locate_dfx(cache_path=cache_path, path=environment.get("PATH", ""))
    if binary is None:
        return None
    done = process.run(
        dfx_argv.version(binary),
        env=child_environment(environment),
        timeout_s=timeout_s,
        cwd=cwd,
    )
    return DfxTool(
        binary=binary,
        version=ToolVersion.parse(done.check().stdout),
        environment=environment,
        cwd=cwd,
    )


class DfxDriver(Driver, FolderTransfer):
    """Drives one dfx on one network as one identity.

    dfx signs the calls: their request ids are not known, and a call may execute until five
    minutes after dfx ended. Nothing is ever sent twice here; a lost answer is settled by whoever
    holds the canister, from its status and its list of snapshots.

    Args:
        tool: the dfx that was found.
        network: passed as `--network`.
        identity: passed as `--identity`; None leaves the choice to dfx.
        password: asks for the identity's passphrase; called once at most, when dfx asks first.
        clock: seconds since the epoch.
        timeout_s: how long a call may take, except `stop`, which has its own.
        patience: how a dfx is ended that does not end by itself.

    Raises:
        ToolError: this version of dfx has no snapshots.
    """

    name = DriverName.DFX
    capabilities = Capabilities(
        take_running=False, exact_sizes=False, reads_version=False, slowest_expiry_s=EXPIRY_S
    )

    def __init__(
        self,
        *,
        tool: DfxTool,
        network: str,
        identity: str | None,
        clock: Callable[[], float],
        password: Callable[[], str] | None = None,
        timeout_s: float = CALL_TIMEOUT_S,
        patience: process.Patience | None = None,
    ) -> None:
        require_dfx(DfxFeature.SNAPSHOTS, tool.version)
        self._tool = tool
        self._argv = dfx_argv.DfxArguments(binary=tool.binary, network=network, identity=identity)
        warning = dfx_argv.warning_setting(tool.environment.get("DFX_WARNING"))
        self._dfx = Runner(
            name="dfx",
            env=child_environment(tool.environment, extra={"DFX_WARNING": warning}),
            cwd=tool.cwd,
            prompt=_PROMPT,
            password=None if password is None else Once(password),
            classify=classify,
            clock=clock,
            timeout_s=timeout_s,
            patience=patience,
        )

    def describe(self) -> str:
        """`dfx` and its version."""
        return f"dfx {self._tool.version}"

    def principal(self) -> str:
        """The principal of the identity, as dfx tells it."""
        return dfx_output.principal(
            self._dfx.ask(self._argv.principal(), "tell the principal").stdout
        )

    def status(self, canister: CanisterId) -> CanisterStatus:
        """The status as dfx prints it: without `canister_version` and the snapshots' share."""
        done = self._dfx.ask(self._argv.status(canister), f"read the status of canister {canister}")
        return dfx_output.canister_status(done.text)

    def stop(
        self, canister: CanisterId, *, timeout_s: float, before_send: BeforeSend = ignore_sent
    ) -> None:
        """Stop the canister; a dfx that is not done in time is ended."""
        self._dfx.send(
            self._argv.stop(canister),
            f"stop canister {canister}",
            before_send=before_send,
            timeout_s=timeout_s,
        )

    def start(self, canister: CanisterId) -> None:
        """Start the canister."""
        self._dfx.send(self._argv.start(canister), f"start canister {canister}")

    def list_snapshots(self, canister: CanisterId) -> tuple[CanisterSnapshot, ...]:
        """The snapshots, with times in whole seconds and no sizes, since dfx rounds them."""
        doing = f"list the snapshots of canister {canister}"
        return dfx_output.listed_snapshots(
            self._dfx.ask(self._argv.list_snapshots(canister), doing).text
        )

    def take_snapshot(
        self,
        canister: CanisterId,
        *,
        replace: SnapshotId | None = None,
        before_send: BeforeSend = ignore_sent,
    ) -> CanisterSnapshot:
        """Take a snapshot of a stopped canister; dfx tells neither its time nor its size."""
        doing = f"take a snapshot of canister {canister}"
        argv = self._argv.take_snapshot(canister, replace)
        done = self._dfx.send(argv, doing, before_send=before_send)
        snapshot = dfx_output.created_snapshot(done.text)
        if snapshot is None:
            raise self._dfx.unclear(doing, done)
        return CanisterSnapshot(snapshot_id=snapshot)

    def load_snapshot(
        self,
        canister: CanisterId,
        snapshot: SnapshotId,
        *,
        before_send: BeforeSend = ignore_sent,
    ) -> None:
        """Load the snapshot into the stopped canister."""
        self._dfx.send(
            self._argv.load_snapshot(canister, snapshot),
            f"load snapshot {snapshot} into canister {canister}",
            before_send=before_send,
        )

    def delete_snapshot(self, canister: CanisterId, snapshot: SnapshotId) -> None:
        """Delete the snapshot."""
        self._dfx.send(
            self._argv.delete_snapshot(canister, snapshot),
            f"delete snapshot {snapshot} of canister {canister}",
        )

    def download_folder(
        self, canister: CanisterId, snapshot: SnapshotId, folder: Path, *, timeout_s: float
    ) -> None:
        """Write a snapshot into an empty folder.

        Raises:
            ToolError: also when this version of dfx can't.
        """
        require_dfx(DfxFeature.TRANSFERS, self._tool.version)
        argv = self._argv.download_snapshot(canister, snapshot, str(folder))
        doing = f"download snapshot {snapshot} of canister {canister}"
        self._dfx.ask(argv, doing, timeout_s=timeout_s)

    def upload_folder(
        self,
        canister: CanisterId,
        folder: Path,
        *,
        timeout_s: float,
        before_send: BeforeSend = ignore_sent,
    ) -> SnapshotId:
        """Make a snapshot of a folder; dfx leaves `SNAPSHOT.json` in it.

        Raises:
            ToolError: also when this version of dfx can't.
        """
        require_dfx(DfxFeature.TRANSFERS, self._tool.version)
        argv = self._argv.upload_snapshot(canister, str(folder))
        doing = f"upload a snapshot to canister {canister}"
        done = self._dfx.send(argv, doing, before_send=before_send, timeout_s=timeout_s)
        snapshot = dfx_output.created_snapshot(done.text)
        if snapshot is None:
            raise self._dfx.unclear(doing, done)
        return snapshot
