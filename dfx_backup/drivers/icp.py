"""Controls canisters through icp, one child process for each call."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dfx_backup.drivers import icp_argv, icp_output, process
from dfx_backup.drivers.base import (
    BeforeSend,
    Capabilities,
    Driver,
    FolderTransfer,
    ignore_sent,
)
from dfx_backup.drivers.environment import locate
from dfx_backup.drivers.failures import EXPIRY_S
from dfx_backup.drivers.features import ToolVersion, require_icp
from dfx_backup.drivers.icp_errors import classify
from dfx_backup.drivers.runner import CALL_TIMEOUT_S, PROBE_TIMEOUT_S, Once, Runner
from dfx_backup.errors import ToolError
from dfx_backup.model import (
    CanisterId,
    CanisterSnapshot,
    CanisterStatus,
    DriverName,
    SnapshotId,
)

# Not the echo of an answer, which repeats the prompt.
_PROMPT = r"Enter [a-zA-Z ]*(?:password|PIN)[^\r\n:]*: (?!\[hidden\])"


@dataclass(frozen=True, slots=True, kw_only=True)
class IcpTool:
    """An icp that was found.

    Attributes:
        binary: its absolute path.
        version: what it says to be.
        environment: of the user, of which it sees a part.
    """

    binary: str
    version: ToolVersion
    environment: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class IcpPlace:
    """Where icp works, and as whom.

    Attributes:
        url: where the network answers.
        root_key: DER of the key that its answers must be certified by.
        identity: passed as `--identity`; None leaves the choice to icp.
        password_file: file with the identity's password and nothing else, so that icp need not
            ask; None when it may ask.
    """

    url: str
    root_key: bytes
    identity: str | None
    password_file: Path | None = None


def probe_icp(
    *, environment: Mapping[str, str], timeout_s: float = PROBE_TIMEOUT_S
) -> IcpTool | None:
    """Find icp on PATH and ask it for its version; None when there is none.

    Raises:
        ToolError: it is there, but does not tell a version.
    """
    binary = locate("icp", path=environment.get("PATH", ""))
    if binary is None:
        return None
    done = process.run(
        icp_argv.version(binary),
        env=icp_argv.icp_environment(environment),
        timeout_s=timeout_s,
    )
    return IcpTool(
        binary=binary, version=ToolVersion.parse(done.check().stdout), environment=environment
    )


class IcpDriver(Driver, FolderTransfer):
    """Drives one icp on one network as one identity.

    icp signs the calls: their request ids are not known, and a call may execute until five minutes
    after icp ended. Nothing is ever sent twice here; a lost answer is settled by whoever holds the
    canister, from its status and its list of snapshots.

    Args:
        tool: the icp that was found.
        place: the network and the identity.
        clock: seconds since the epoch.
        password: asks for the identity's password; called once at most, when icp asks first.
        timeout_s: how long a call may take, except `stop` and transfers, which have their own.
        patience: how an icp is ended that does not end by itself.

    Raises:
        ToolError: this version of icp is too old.
    """

    name = DriverName.ICP
    capabilities = Capabilities(
        take_running=False, exact_sizes=True, reads_version=False, slowest_expiry_s=EXPIRY_S
    )

    def __init__(
        self,
        *,
        tool: IcpTool,
        place: IcpPlace,
        clock: Callable[[], float],
        password: Callable[[], str] | None = None,
        timeout_s: float = CALL_TIMEOUT_S,
        patience: process.Patience | None = None,
    ) -> None:
        require_icp(tool.version)
        self._tool = tool
        self._argv = icp_argv.IcpArguments(
            binary=tool.binary,
            url=place.url,
            root_key=place.root_key,
            identity=place.identity,
            password_file=None if place.password_file is None else str(place.password_file),
        )
        self._icp = Runner(
            name="icp",
            env=icp_argv.icp_environment(tool.environment),
            cwd=None,
            prompt=_PROMPT,
            password=None if password is None else Once(password),
            classify=classify,
            clock=clock,
            timeout_s=timeout_s,
            patience=patience,
        )

    def describe(self) -> str:
        """`icp` and its version."""
        return f"icp {self._tool.version}"

    def principal(self) -> str:
        """The principal of the identity, as icp tells it."""
        done = self._icp.ask(self._argv.principal(), "tell the principal")
        return icp_output.principal(done.stdout)

    def status(self, canister: CanisterId) -> CanisterStatus:
        """The status as icp tells it: without `canister_version` and the snapshots' share.

        Raises:
            RejectError: also when icp tells only what everybody may read.
        """
        done = self._icp.ask(self._argv.status(canister), f"read the status of canister {canister}")
        return icp_output.canister_status(done.stdout, canister)

    def stop(
        self, canister: CanisterId, *, timeout_s: float, before_send: BeforeSend = ignore_sent
    ) -> None:
        """Stop the canister; an icp that is not done in time is ended."""
        self._icp.send(
            self._argv.stop(canister),
            f"stop canister {canister}",
            before_send=before_send,
            timeout_s=timeout_s,
        )

    def start(self, canister: CanisterId) -> None:
        """Start the canister."""
        self._icp.send(self._argv.start(canister), f"start canister {canister}")

    def list_snapshots(self, canister: CanisterId) -> tuple[CanisterSnapshot, ...]:
        """The snapshots, with exact times and sizes."""
        doing = f"list the snapshots of canister {canister}"
        done = self._icp.ask(self._argv.list_snapshots(canister), doing)
        return icp_output.listed_snapshots(done.stdout)

    def take_snapshot(
        self,
        canister: CanisterId,
        *,
        replace: SnapshotId | None = None,
        before_send: BeforeSend = ignore_sent,
    ) -> CanisterSnapshot:
        """Take a snapshot of a stopped canister."""
        doing = f"take a snapshot of canister {canister}"
        argv = self._argv.take_snapshot(canister, replace)
        done = self._icp.send(argv, doing, before_send=before_send)
        try:
            return icp_output.created_snapshot(done.stdout)
        except ToolError as err:
            raise self._icp.unclear(doing, done) from err

    def load_snapshot(
        self,
        canister: CanisterId,
        snapshot: SnapshotId,
        *,
        before_send: BeforeSend = ignore_sent,
    ) -> None:
        """Load the snapshot into the stopped canister."""
        self._icp.send(
            self._argv.load_snapshot(canister, snapshot),
            f"load snapshot {snapshot} into canister {canister}",
            before_send=before_send,
        )

    def delete_snapshot(self, canister: CanisterId, snapshot: SnapshotId) -> None:
        """Delete the snapshot."""
        self._icp.send(
            self._argv.delete_snapshot(canister, snapshot),
            f"delete snapshot {snapshot} of canister {canister}",
        )

    def download_folder(
        self, canister: CanisterId, snapshot: SnapshotId, folder: Path, *, timeout_s: float
    ) -> None:
        """Write a snapshot into a folder."""
        argv = self._argv.download_snapshot(canister, snapshot, str(folder))
        doing = f"download snapshot {snapshot} of canister {canister}"
        self._icp.ask(argv, doing, timeout_s=timeout_s)

    def upload_folder(
        self,
        canister: CanisterId,
        folder: Path,
        *,
        timeout_s: float,
        before_send: BeforeSend = ignore_sent,
    ) -> SnapshotId:
        """Make a snapshot of a folder; icp takes several times its largest file in memory."""
        argv = self._argv.upload_snapshot(canister, str(folder))
        doing = f"upload a snapshot to canister {canister}"
        done = self._icp.send(argv, doing, before_send=before_send, timeout_s=timeout_s)
        try:
            return icp_output.uploaded_snapshot(done.stdout)
        except ToolError as err:
            raise self._icp.unclear(doing, done) from err
