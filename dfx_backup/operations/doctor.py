"""One finding per thing that a backup depends on; `doctor_*` hold the checks by what they look at.

Nothing is changed but a probe file in each place that must be writable.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dfx_backup.drivers.dfx import DfxTool
from dfx_backup.drivers.icp import IcpTool
from dfx_backup.errors import NetworkError
from dfx_backup.model import CanisterRef, CanisterStatus, DriverName, NetworkId
from dfx_backup.operations import (
    doctor_canister,
    doctor_identity,
    doctor_machine,
    doctor_methods,
    doctor_repository,
    doctor_runs,
    doctor_tools,
)
from dfx_backup.operations.backup_create_plan import KEEP_ON_CHAIN
from dfx_backup.operations.doctor_findings import (
    DoctorResult,
    Finding,
    Topic,
    Verdict,
    ask,
    catch,
    doubt,
    failed,
    fine,
    within,
)
from dfx_backup.operations.doctor_identity import KeyPlace
from dfx_backup.operations.doctor_machine import Clocks, Room
from dfx_backup.operations.doctor_methods import View
from dfx_backup.operations.doctor_repository import RepositoryPart
from dfx_backup.operations.doctor_tools import Here, Need
from dfx_backup.operations.pending import Pending
from dfx_backup.operations.target import Runtime, Target

__all__ = ["Checks", "DoctorResult", "Finding", "Topic", "Verdict", "doctor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """The parts to look at; each callable may raise a `BackupError`, which becomes a finding.

    Attributes:
        here: what the program runs on.
        needs: extras that this set-up needs.
        find_dfx: finds dfx.
        find_icp: finds icp.
        drives: what controls the canisters.
        driver: describes it, and tells why it is this one.
        network: asks the network whether it answers; returns a line on it.
        network_id: the network's identity.
        root_key: returns a line on where the trusted root key comes from.
        identity: reads the identity; returns a line on it.
        key: how the identity's key is kept.
        warnings: DFX_WARNING as the user set it.
        secrets: files that hold a key or a password.
        clocks: the ways to the network's time.
        view: canisters as anybody sees them, for a clock that is so many seconds behind.
        repository: the repository, or None when it is not to be looked at.
        targets: the canisters to look at.
        keep: how many of our snapshots of a canister stay on the subnet.
        journaled: the canister of an interrupted run.
        rooms: places that need room.
        places: directories that must be writable, next to the state directory.
    """

    here: Here
    needs: Callable[[], tuple[Need, ...]]
    find_dfx: Callable[[], DfxTool | None]
    find_icp: Callable[[], IcpTool | None]
    drives: Callable[[], DriverName]
    driver: Callable[[], str]
    network: Callable[[], str]
    network_id: Callable[[], NetworkId]
    root_key: Callable[[], str]
    identity: Callable[[], str]
    key: Callable[[], KeyPlace]
    warnings: str
    secrets: Callable[[], Sequence[Path]]
    clocks: Clocks
    view: Callable[[float], View]
    repository: RepositoryPart | None
    targets: Callable[[], tuple[Target, ...]]
    keep: Callable[[CanisterRef], int]
    journaled: Callable[[Pending], Target]
    rooms: Callable[[], tuple[Room, ...]]
    places: tuple[Path, ...] = ()


def doctor(run: Runtime, checks: Checks) -> DoctorResult:
    """Look at everything; a failed part becomes a finding and never stops the others.

    Raises:
        InterruptedRunError: the user stopped it.
    """
    dfx, tool = doctor_tools.dfx(checks.find_dfx)
    findings = [
        doctor_tools.program(checks.here),
        *_extras(checks),
        dfx,
        doctor_tools.icp(checks.find_icp),
        *doctor_tools.installed(checks.here, tool),
        ask(Topic.DRIVER, checks.driver),
        *_identity(checks, tool),
        *doctor_machine.secrets(checks.secrets),
    ]
    network = ask(Topic.NETWORK, lambda: within(checks.network, "the network"))
    findings += [
        network,
        ask(Topic.ROOT_KEY, lambda: within(checks.root_key, "the network")),
        *(doctor_machine.writable(path) for path in (run.state, *checks.places)),
        *doctor_runs.recoveries(run, checks.journaled),
        *doctor_runs.unfinished(run),
        *doctor_runs.uploads(run),
    ]
    if checks.repository is not None:
        findings += doctor_repository.look(checks.repository)
    answers = network.exit_code != NetworkError.exit_code
    told, statuses = _canisters(run, checks, answers=answers)
    rooms, trouble = catch(checks.rooms)
    if trouble is not None:  # told with the repository
        rooms = ()
    return DoctorResult(findings=(*findings, *doctor_machine.disks(rooms or (), statuses), *told))


def _extras(checks: Checks) -> list[Finding]:
    needs, trouble = catch(checks.needs)
    if trouble is not None:  # what it depends on fails by itself, and is told there
        needs = ()
    return doctor_tools.extras(checks.here, needs or ())


def _identity(checks: Checks, tool: DfxTool | None) -> list[Finding]:
    drives, _ = catch(checks.drives)
    driven = tool if drives is DriverName.DFX else None
    return [
        ask(Topic.IDENTITY, checks.identity),
        doctor_identity.plaintext(
            checks.key,
            lambda: within(checks.network_id, "the network"),
            driven=driven,
            warnings=checks.warnings,
        ),
    ]


def _keep(checks: Checks, target: Target) -> int:
    found, _ = catch(partial(checks.keep, target.ref))  # bad settings are told elsewhere
    return KEEP_ON_CHAIN if found is None else found


def _canisters(
    run: Runtime, checks: Checks, *, answers: bool
) -> tuple[list[Finding], list[CanisterStatus]]:
    """Findings about the clock and each canister, and the statuses that were told."""
    if not answers:
        return [
            doubt(Topic.CLOCK, "not compared: the network does not answer", None),
            doubt(Topic.CANISTERS, "not looked at: the network does not answer", None),
        ], []
    targets, trouble = catch(checks.targets)
    first = targets[0].canister_id if targets else None
    clock, behind = doctor_machine.clock(checks.clocks, first)
    if targets is None:
        assert trouble is not None
        return [clock, failed(Topic.CANISTERS, trouble)], []
    if not targets:
        told = "none: no project with canisters on this network is here, and none was named"
        return [clock, fine(Topic.CANISTERS, told)], []
    findings = [clock, fine(Topic.CANISTERS, f"looked at: {', '.join(map(str, targets))}")]
    statuses = []
    view = checks.view(behind)
    for target in targets:
        run.progress.step(f"looking at {target}")
        look = doctor_canister.look(run, target, keep=_keep(checks, target))
        findings += [
            *look.findings,
            *doctor_methods.look(view, target.canister_id, str(target)),
        ]
        if look.status is not None:
            statuses.append(look.status)
    return findings, statuses
