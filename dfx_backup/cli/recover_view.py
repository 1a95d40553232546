"""Plans and results of `recover`, as text and as the fields of `data`."""

from dfx_backup.cli import text
from dfx_backup.cli.output import Json, Report
from dfx_backup.errors import BackupError, IncompleteError
from dfx_backup.model import CanisterRef
from dfx_backup.operations.pending import Pending
from dfx_backup.operations.recover import RecoverAction, Recovered, RecoverPlan, RecoverResult


def planned(plan: RecoverPlan, failures: tuple[BackupError, ...]) -> Report:
    """`recover --dry-run`."""
    lines = tuple(text.clean(line) for action in plan.actions for line in _plan_lines(action))
    return Report(
        data={"dry_run": True, "plan": {"actions": [_action(each) for each in plan.actions]}},
        lines=(*(lines or ("There is nothing to recover.",)), "Nothing was changed."),
        errors=failures,
    )


def consent(plan: RecoverPlan) -> tuple[str, ...]:
    """One sentence for each canister that only the user can know to be down by mistake."""
    return tuple(
        f"Canister {action.canister} is {action.state}, and no record of ours says why."
        for action in plan.actions
        if not action.from_journal
    )


def done(result: RecoverResult, failures: tuple[BackupError, ...]) -> Report:
    """`recover`."""
    lines = tuple(text.clean(line) for each in result.recovered for line in _done_lines(each))
    return Report(
        data={"dry_run": False, "recovered": [_recovered(each) for each in result.recovered]},
        lines=lines or ("There is nothing to recover.",),
        warnings=tuple(warning for each in result.recovered for warning in each.warnings),
        errors=(*failures, *(IncompleteError(each) for each in result.incomplete)),
    )


def discarded(entry: Pending, *, dry_run: bool) -> Report:
    """`recover --discard`."""
    said = "Would drop" if dry_run else "Dropped"
    return Report(
        data={
            "dry_run": dry_run,
            "discarded": {
                **_named(entry.canister),
                "network": entry.network.name if entry.network else None,
                "file": text.clean(str(entry.path)),
                "summary": text.clean(entry.summary),
            },
        },
        lines=(text.clean(f"{said} the record: {entry.summary}"),),
    )


def _plan_lines(action: RecoverAction) -> tuple[str, ...]:
    why = "" if action.from_journal else ", without a record of ours"
    head = f"{_title(action.canister)}: {action.state}{why}"
    return (head, *(f"  {step}" for step in action.will))


def _done_lines(recovered: Recovered) -> tuple[str, ...]:
    how = "started again" if recovered.started else "left as it is"
    lines = [f"{_title(recovered.canister)}: {recovered.state}, {how}"]
    if recovered.snapshot_id:
        lines.append(f"  its snapshot is {recovered.snapshot_id}")
    lines += [f"  snapshot {orphan} may be ours or not" for orphan in recovered.orphans]
    if not recovered.closed:
        lines.append("  not settled yet: run `recover` again later")
    return tuple(lines)


def _action(action: RecoverAction) -> dict[str, Json]:
    return {
        **_named(action.canister),
        "state": action.state.value,
        "from_journal": action.from_journal,
        "will": [text.clean(each) for each in action.will],
    }


def _recovered(recovered: Recovered) -> dict[str, Json]:
    return {
        **_named(recovered.canister),
        "state": recovered.state.value,
        "started": recovered.started,
        "closed": recovered.closed,
        "snapshot_id": recovered.snapshot_id,
        "orphans": list(recovered.orphans),
    }


def _named(canister: CanisterRef | None) -> dict[str, Json]:
    return {
        "canister_id": canister.canister_id if canister else None,
        "canister_name": canister.name if canister else None,
    }


def _title(canister: CanisterRef) -> str:
    return f"{canister.name} ({canister.canister_id})" if canister.name else canister.canister_id
