"""Findings about one canister: who controls it, who sees it, what it has left."""

from collections.abc import Sequence
from dataclasses import dataclass

from dfx_backup.errors import BackupError, RefusedError, RejectError
from dfx_backup.ic.canister_settings import Audience
from dfx_backup.ic.principal import ANONYMOUS
from dfx_backup.ic.root_keys import MAINNET_ROOT_KEY, network_id
from dfx_backup.model import MAX_SNAPSHOTS, CanisterStatus, RunState, SnapshotId
from dfx_backup.operations import cycles
from dfx_backup.operations.backup_create_plan import KEEP_ON_CHAIN
from dfx_backup.operations.doctor_findings import (
    Finding,
    Topic,
    catch,
    doubt,
    failed,
    failure,
    fine,
    unknown,
)
from dfx_backup.operations.doctor_runs import uploading
from dfx_backup.operations.ledger import BACKUP, SAFETY, Ledger, OwnSnapshot
from dfx_backup.operations.preflight import Survey, survey
from dfx_backup.operations.target import Runtime, Target
from dfx_backup.operations.unfinished import UnfinishedBackups

LOOK_S = 10.0
"""Seconds for the look at a canister's settings."""
ENOUGH_DAYS = 30
"""With fewer days until a canister freezes somebody should know."""
_MANY_DAYS = 3650

_OUT_OF_CYCLES = "IC0207"
_NOT_A_CONTROLLER = "IC0512"
_ANYBODY = ANONYMOUS.to_text()
_MAINNET = network_id(MAINNET_ROOT_KEY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What there is to say about a canister.

    Attributes:
        findings: one for each check.
        status: the canister's status, or None when it was not told.
    """

    findings: tuple[Finding, ...]
    status: CanisterStatus | None


def look(run: Runtime, target: Target, *, keep: int = KEEP_ON_CHAIN) -> Look:
    """Look at a canister; nothing of it is changed.

    Args:
        run: the surroundings.
        target: the canister.
        keep: how many of our snapshots stay on the subnet.
    """
    found, trouble = catch(lambda: survey(target))
    if found is None:
        assert trouble is not None
        return Look(findings=(_refused(target, trouble),), status=None)
    status = found.status
    findings = (
        _controller(target, status),
        _status(target, status),
        _visibility(target),
        _slots(target, found),
        _orphans(run, target, found, keep),
        _cycles(target, status),
    )
    return Look(findings=findings, status=status)


def _refused(target: Target, trouble: BackupError) -> Finding:
    """Why there is no status: frozen, not ours, or ours to look at only."""
    about, direct = str(target), target.direct
    code = trouble.error_code if isinstance(trouble, RejectError) else None
    if code == _OUT_OF_CYCLES:
        return failed(Topic.CYCLES, trouble, about=about)
    if code == _NOT_A_CONTROLLER and direct is not None:
        seen, _ = catch(lambda: direct.calls.list_snapshots(target.canister_id))
        if seen is not None:
            return doubt(
                Topic.CONTROLLER,
                f"we are no controller, and a viewer: of {len(seen)} snapshots each can be"
                " downloaded, and none be taken",
                "`create --snapshot ID` backs up one that a controller took",
                about=about,
            )
    return failed(Topic.CONTROLLER, trouble, about=about)


def _controller(target: Target, status: CanisterStatus) -> Finding:
    """Who may do everything with it: too many are a danger, and so are too few."""
    about, count = str(target), len(status.controllers)
    on_mainnet = target.network_id == _MAINNET
    if _ANYBODY in status.controllers:
        told = "the anonymous principal is a controller: anybody can do everything with it"
        advice = f"remove {_ANYBODY} from its controllers"
        tell = failure if on_mainnet else doubt
        return tell(Topic.CONTROLLER, told, advice, about=about)
    alone = count == 1 and target.principal in status.controllers
    if alone and on_mainnet:
        return doubt(
            Topic.CONTROLLER,
            "we are the only controller: who loses its key loses the canister",
            "add a second controller whose key is kept elsewhere",
            about=about,
        )
    told = f"we are one of {count} controllers"
    if target.principal is None or not count:
        told = "its status can be read"
    return fine(Topic.CONTROLLER, "we are the only controller" if alone else told, about=about)


def _status(target: Target, status: CanisterStatus) -> Finding:
    about = str(target)
    if status.state is not RunState.RUNNING:
        return doubt(
            Topic.STATUS,
            f"the canister is {status.state}",
            f"if that is not meant, `recover {target.canister_id}` starts it",
            about=about,
        )
    if status.module_hash is None:
        return doubt(
            Topic.STATUS, "running, but empty: no code to snapshot", "install code", about=about
        )
    return fine(Topic.STATUS, "running", about=about)


def _visibility(target: Target) -> Finding:
    """Who may download the canister's snapshots, and so everything that it holds."""
    about, direct = str(target), target.direct
    if direct is None:
        return doubt(
            Topic.VISIBILITY,
            f"not told: {target.driver.describe()} does not show it",
            "an identity whose key can be read here can ask",
            about=about,
        )
    full, trouble = catch(lambda: direct.calls.full_status(target.canister_id, within_s=LOOK_S))
    if full is None:
        assert trouble is not None
        return unknown(Topic.VISIBILITY, trouble, about=about)
    visible = full.settings.snapshot_visibility
    if visible is None or visible.audience is Audience.CONTROLLERS:
        return fine(Topic.VISIBILITY, "controllers alone see its snapshots", about=about)
    if visible.audience is Audience.PUBLIC:
        return doubt(
            Topic.VISIBILITY,
            "public: anybody can download its snapshots, and with them all that it holds",
            "set `snapshot_visibility` to controllers, or to the viewers who need it",
            about=about,
        )
    names = ", ".join(visible.viewers) or "nobody"
    return fine(
        Topic.VISIBILITY,
        f"controllers and {len(visible.viewers)} viewers see its snapshots: {names}",
        about=about,
    )


def _slots(target: Target, found: Survey) -> Finding:
    about, free = str(target), MAX_SNAPSHOTS - len(found.snapshots)
    told = f"{max(0, free)} of {MAX_SNAPSHOTS}"
    if free > 0:
        return fine(Topic.SLOTS, told, about=about)
    return doubt(Topic.SLOTS, told, "delete a snapshot, or use --replace", about=about)


def _orphans(run: Runtime, target: Target, found: Survey, keep: int) -> Finding:
    """Snapshots that take a slot and are billed, and that nothing here needs any more."""
    about = str(target)
    own, trouble = catch(lambda: Ledger(run.state, target.key).read())
    if own is None:
        assert trouble is not None
        return failed(Topic.ORPHANS, trouble, about=about)
    left, _ = catch(lambda: UnfinishedBackups(run.state).read(target.key))
    wanted = uploading(run.state) | ({left.snapshot_id} if left is not None else set())
    there = [each for each in found.ids if each not in wanted]
    known = [each for each in own if each.snapshot_id in there]
    useless = _useless(known, keep)
    strangers = sorted(set(there) - {each.snapshot_id for each in known})
    parts = [f"{each} is not needed any more" for each in useless]
    parts += [f"{each} is not recorded here as ours" for each in strangers]
    if not parts:
        return fine(Topic.ORPHANS, f"none among {len(found.ids)}", about=about)
    return doubt(
        Topic.ORPHANS,
        f"each is billed: {'; '.join(parts)}",
        f"`{run.command('snapshot list', target)}` tells their age and size; delete with"
        " `snapshot delete` what nobody needs",
        about=about,
    )


def _useless(known: Sequence[OwnSnapshot], keep: int) -> list[SnapshotId]:
    """Ours beyond the newest ones that stay: so many of backups, and one from before a load."""
    found = []
    for purpose, stays in ((BACKUP, keep), (SAFETY, 1)):
        of_it = [each.snapshot_id for each in known if each.purpose == purpose]
        found += of_it[: max(0, len(of_it) - stays)]
    return found


def _lasts(days: int | None) -> str:
    if days is None:
        return "it does not pay for memory"
    if days > _MANY_DAYS:
        return "years until it freezes"
    return f"{days} days until it freezes"


def _cycles(target: Target, status: CanisterStatus) -> Finding:
    about = str(target)
    size = cycles.snapshot_bytes(status)
    check = cycles.check(
        status, added_bytes=size, cost=None if size is None else cycles.take_cost(size)
    )
    top_up = f"top it up: `dfx cycles top-up {target.canister_id} AMOUNT --network"
    if check.unknown is not None:
        return doubt(
            Topic.CYCLES, check.unknown, "an identity whose key can be read can ask", about=about
        )
    days = cycles.days_until_frozen(status)
    told = _lasts(days)
    if check.top_up:
        return failure(
            Topic.CYCLES,
            f"{check.top_up:,} cycles are missing for one more snapshot; {told}",
            f"{top_up} {target.network.name}`".replace("AMOUNT", str(check.top_up)),
            about=about,
            exit_code=RefusedError.exit_code,
        )
    if days is not None and days < ENOUGH_DAYS:
        return doubt(
            Topic.CYCLES,
            f"enough for one more snapshot, but {told}",
            f"{top_up} {target.network.name}`",
            about=about,
        )
    return fine(Topic.CYCLES, f"enough for one more snapshot; {told}", about=about)
