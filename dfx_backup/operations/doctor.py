"""One finding per thing that a backup depends on."""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from dfx_backup.errors import (
    BackupError,
    CanisterDownError,
    InterruptedRunError,
    RefusedError,
)
from dfx_backup.model import MAX_SNAPSHOTS, CanisterStatus, RunState
from dfx_backup.operations import cycles
from dfx_backup.operations.pending import Pending, pending
from dfx_backup.operations.preflight import Survey, survey
from dfx_backup.operations.state_files import remove, write_whole
from dfx_backup.operations.target import Runtime, Target

T = TypeVar("T")


class Verdict(enum.StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of one check.

    Attributes:
        name: what was looked at, such as `driver` or `chat: free slots`.
        state: how it ended.
        detail: what was found, one line.
        advice: what to do, or None.
        exit_code: what a command that needs this would exit with; 0 unless `state` is fail.
    """

    name: str
    state: Verdict
    detail: str
    advice: str | None = None
    exit_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """The parts to look at; each callable may raise a `BackupError`, which becomes a finding.

    Attributes:
        driver: describes the tool and its version.
        network: asks the network whether it answers; returns a line on it.
        root_key: returns a line on where the trusted root key comes from.
        identity: reads the identity; returns a line on it.
        targets: the canisters to look at.
        journaled: the canister of an interrupted run.
        places: directories that must be writable, next to the state directory.
    """

    driver: Callable[[], str]
    network: Callable[[], str]
    root_key: Callable[[], str]
    identity: Callable[[], str]
    targets: Callable[[], tuple[Target, ...]]
    journaled: Callable[[Pending], Target]
    places: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorResult:
    """All findings; the exit code is 4 when a canister is down, that of the first failure, or 0."""

    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """0 when nothing failed."""
        codes = [found.exit_code for found in self.findings if found.exit_code]
        urgent = CanisterDownError.exit_code
        return urgent if urgent in codes else next(iter(codes), 0)


def doctor(run: Runtime, checks: Checks) -> DoctorResult:
    """Look at everything; a failed part becomes a finding and never stops the others.

    Raises:
        InterruptedRunError: the user stopped it.
    """
    findings = [
        _ask("driver", checks.driver),
        _ask("network", checks.network),
        _ask("root key", checks.root_key),
        _ask("identity", checks.identity),
        *(_writable(path) for path in (run.state, *checks.places)),
        *_pending(run, checks),
    ]
    targets, trouble = _catch(checks.targets)
    if trouble is not None:
        findings.append(_failed("canisters", trouble))
    for target in targets or ():
        findings.extend(_canister(target))
    return DoctorResult(findings=tuple(findings))


def _catch(part: Callable[[], T]) -> tuple[T | None, BackupError | None]:
    try:
        return part(), None
    except InterruptedRunError:
        raise
    except BackupError as error:
        return None, error


def _ask(name: str, part: Callable[[], str]) -> Finding:
    detail, trouble = _catch(part)
    if trouble is not None:
        return _failed(name, trouble)
    return Finding(name=name, state=Verdict.OK, detail=detail or "")


def _failed(name: str, error: BackupError) -> Finding:
    return Finding(
        name=name,
        state=Verdict.FAIL,
        detail=error.message,
        advice=error.hint,
        exit_code=error.exit_code,
    )


def _writable(folder: Path) -> Finding:
    """Make the folder, and write and remove a file in it."""

    def write() -> str:
        probe = folder / ".doctor"
        write_whole(probe, {})
        remove(probe)
        return f"{folder} can be written"

    return _ask("state directory", write)


def _pending(run: Runtime, checks: Checks) -> list[Finding]:
    left = pending(run.state)
    if not left:
        return [Finding(name="recovery", state=Verdict.OK, detail="nothing is left to recover")]
    return [_left(run, checks, each) for each in left]


def _left(run: Runtime, checks: Checks, left: Pending) -> Finding:
    """One interrupted run; it is urgent when its canister is still down."""
    if left.problem is not None:
        return Finding(
            name="recovery",
            state=Verdict.FAIL,
            detail=left.summary,
            advice=left.problem.hint,
            exit_code=left.problem.exit_code,
        )
    target, _ = _catch(lambda: checks.journaled(left))
    if target is not None and target.network_id != left.network_id:
        return Finding(
            name="recovery",
            state=Verdict.WARN,
            detail=f"{left.summary} Network {target.network.name} is another one now: its root key"
            " is not the same",
            advice="if it was reset, its canisters are gone: run"
            f" `{run.program} recover {left.path.name} --discard`",
        )
    status, _ = (None, None) if target is None else _catch(partial(_status_of, target))
    if left.must_run and status is not None and status.state is not RunState.RUNNING:
        assert target is not None
        return Finding(
            name="recovery",
            state=Verdict.FAIL,
            detail=f"canister {target} was running, and is {status.state} now. {left.summary}",
            advice=f"run `{run.command('recover', target)}`",
            exit_code=CanisterDownError.exit_code,
        )
    return Finding(
        name="recovery",
        state=Verdict.WARN,
        detail=left.summary,
        advice=f"run `{run.program} recover --all`",
    )


def _status_of(target: Target) -> CanisterStatus:
    return target.driver.status(target.canister_id)


def _canister(target: Target) -> list[Finding]:
    found, trouble = _catch(lambda: survey(target))
    if found is None:
        assert trouble is not None
        return [_failed(f"{target}: controller", trouble)]
    status = found.status
    return [
        Finding(name=f"{target}: controller", state=Verdict.OK, detail="status can be read"),
        _status(target, status),
        _slots(target, found),
        _cycles(target, status),
    ]


def _status(target: Target, status: CanisterStatus) -> Finding:
    name = f"{target}: status"
    if status.state is not RunState.RUNNING:
        return Finding(
            name=name,
            state=Verdict.WARN,
            detail=f"the canister is {status.state}",
            advice=f"if that is not meant, `recover {target.canister_id}` starts it",
        )
    if status.module_hash is None:
        return Finding(
            name=name, state=Verdict.WARN, detail="running, but empty: no code to snapshot"
        )
    return Finding(name=name, state=Verdict.OK, detail="running")


def _slots(target: Target, found: Survey) -> Finding:
    free = MAX_SNAPSHOTS - len(found.snapshots)
    return Finding(
        name=f"{target}: free slots",
        state=Verdict.OK if free > 0 else Verdict.WARN,
        detail=f"{max(0, free)} of {MAX_SNAPSHOTS}",
        advice=None if free > 0 else "delete a snapshot, or use --replace",
    )


def _cycles(target: Target, status: CanisterStatus) -> Finding:
    name = f"{target}: cycles"
    size = cycles.snapshot_bytes(status)
    check = cycles.check(
        status, added_bytes=size, cost=None if size is None else cycles.take_cost(size)
    )
    if check.unknown is not None:
        return Finding(name=name, state=Verdict.WARN, detail=check.unknown)
    if check.top_up:
        return Finding(
            name=name,
            state=Verdict.FAIL,
            detail=f"{check.top_up:,} cycles are missing for one more snapshot",
            advice=f"top it up: `dfx cycles top-up {target.canister_id} {check.top_up}"
            f" --network {target.network.name}`",
            exit_code=RefusedError.exit_code,
        )
    return Finding(name=name, state=Verdict.OK, detail="enough for one more snapshot")
