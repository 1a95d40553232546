"""Controls canisters through dfx, one child process for each call."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dfx_backup.drivers import dfx_argv, dfx_output, process
from dfx_backup.drivers.base import BeforeSend, Capabilities, Driver, ignore_sent
from dfx_backup.drivers.dfx_errors import classify
from dfx_backup.drivers.environment import child_environment, locate
from dfx_backup.drivers.failures import EXPIRY_S, Failure, unknown_outcome
from dfx_backup.drivers.features import DfxFeature, ToolVersion, require_dfx
from dfx_backup.drivers.terminal import Question
from dfx_backup.errors import WrongKeyError
from dfx_backup.model import (
    CanisterId,
    CanisterSnapshot,
    CanisterStatus,
    DriverName,
    SentCall,
    SnapshotId,
)

_log = logging.getLogger(__name__)

CALL_TIMEOUT_S = 360.0
"""How long one dfx may take: the five minutes that it polls for an answer, and a margin."""

_PROBE_TIMEOUT_S = 30.0
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


def locate_dfx(*, cache_path: str | None, path: str) -> str | None:
    """Where dfx is: in the cache of the dfx that started us, else on PATH, else None.

    The one on PATH may be a shim that runs another version from folder to folder. The cache holds
    no binary when that version was never installed into it.
    """
    cached = None if cache_path is None else locate(str(Path(cache_path) / "dfx"), path="")
    return cached or locate("dfx", path=path)


def probe_dfx(
    *, cache_path: str | None, environment: Mapping[str, str], cwd: str | None = None
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
        timeout_s=_PROBE_TIMEOUT_S,
        cwd=cwd,
    )
    return DfxTool(
        binary=binary,
        version=ToolVersion.parse(done.check().stdout),
        environment=environment,
        cwd=cwd,
    )


class DfxDriver(Driver):
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
        self._env = child_environment(
            tool.environment,
            extra={"DFX_WARNING": dfx_argv.warning_setting(tool.environment.get("DFX_WARNING"))},
        )
        self._clock = clock
        self._passphrase = None if password is None else _Once(password)
        self._timeout_s = timeout_s
        self._patience = patience

    def describe(self) -> str:
        """`dfx` and its version."""
        return f"dfx {self._tool.version}"

    def principal(self) -> str:
        """The principal of the identity, as dfx tells it."""
        return dfx_output.principal(self._ask(self._argv.principal(), "tell the principal").stdout)

    def status(self, canister: CanisterId) -> CanisterStatus:
        """The status as dfx prints it: without `canister_version` and the snapshots' share."""
        done = self._ask(self._argv.status(canister), f"read the status of canister {canister}")
        return dfx_output.canister_status(done.text)

    def stop(
        self, canister: CanisterId, *, timeout_s: float, before_send: BeforeSend = ignore_sent
    ) -> None:
        """Stop the canister; a dfx that is not done in time is ended."""
        self._send(
            self._argv.stop(canister),
            f"stop canister {canister}",
            before_send=before_send,
            timeout_s=timeout_s,
        )

    def start(self, canister: CanisterId) -> None:
        """Start the canister."""
        self._send(self._argv.start(canister), f"start canister {canister}")

    def list_snapshots(self, canister: CanisterId) -> tuple[CanisterSnapshot, ...]:
        """The snapshots, with times in whole seconds and no sizes, since dfx rounds them."""
        doing = f"list the snapshots of canister {canister}"
        return dfx_output.listed_snapshots(
            self._ask(self._argv.list_snapshots(canister), doing).text
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
        done = self._send(argv, doing, before_send=before_send)
        snapshot = dfx_output.created_snapshot(done.text)
        if snapshot is None:
            why = f"dfx succeeded, and printed no snapshot id: {done.text.strip()[-200:]!r}"
            raise unknown_outcome(doing, why, now=self._clock())
        return CanisterSnapshot(snapshot_id=snapshot)

    def load_snapshot(
        self,
        canister: CanisterId,
        snapshot: SnapshotId,
        *,
        before_send: BeforeSend = ignore_sent,
    ) -> None:
        """Load the snapshot into the stopped canister."""
        self._send(
            self._argv.load_snapshot(canister, snapshot),
            f"load snapshot {snapshot} into canister {canister}",
            before_send=before_send,
        )

    def delete_snapshot(self, canister: CanisterId, snapshot: SnapshotId) -> None:
        """Delete the snapshot."""
        self._send(
            self._argv.delete_snapshot(canister, snapshot),
            f"delete snapshot {snapshot} of canister {canister}",
        )

    def _ask(self, argv: Sequence[str], doing: str) -> process.Finished:
        """Run a dfx that changes nothing."""
        return self._judge(self._run(argv, doing, self._timeout_s), doing, sends=False)

    def _send(
        self,
        argv: Sequence[str],
        doing: str,
        *,
        before_send: BeforeSend = ignore_sent,
        timeout_s: float | None = None,
    ) -> process.Finished:
        """Run a dfx that changes something.

        The expiry told to `before_send` is an upper bound: dfx may sign at any moment until its
        time-out, and what it signed may execute for five more minutes.
        """
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        expires_at = self._clock() + limit_s + EXPIRY_S
        before_send(SentCall(request_id=None, expires_at=expires_at))
        try:
            done = self._run(argv, doing, limit_s)
        except process.ProgramTimedOutError as err:
            why = f"dfx did not end within {limit_s:g} s"
            raise unknown_outcome(doing, why, now=self._clock()) from err
        return self._judge(done, doing, sends=True)

    def _run(self, argv: Sequence[str], doing: str, timeout_s: float) -> process.Finished:
        passphrase = self._passphrase
        question = None if passphrase is None else Question(pattern=_PROMPT, answer=passphrase)
        try:
            return process.run(
                argv,
                env=self._env,
                timeout_s=timeout_s,
                cwd=self._tool.cwd,
                question=question,
                patience=self._patience,
            )
        except process.AskedAgainError as err:
            raise WrongKeyError(
                f"could not {doing}: dfx did not accept the identity's passphrase"
            ) from err

    def _judge(self, done: process.Finished, doing: str, *, sends: bool) -> process.Finished:
        if done.code == 0:
            return done
        failure = Failure(finished=done, doing=doing, sends=sends, now=self._clock())
        error = classify(failure)
        _log.debug("dfx failed: %s", error.message)
        raise error


class _Once:
    """Asks for a secret when it is first needed, and keeps it; never shows it."""

    def __init__(self, ask: Callable[[], str]) -> None:
        self._ask = ask
        self._known: str | None = None

    def __call__(self) -> str:
        if self._known is None:
            self._known = self._ask()
        return self._known

    def __repr__(self) -> str:
        return "<passphrase>"
