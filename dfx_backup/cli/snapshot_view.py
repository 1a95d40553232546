"""Plans and results of the `snapshot` commands, as text and as the fields of `data`."""

from dfx_backup.cli import fields, text
from dfx_backup.cli.output import Json, Report
from dfx_backup.model import Consistency
from dfx_backup.operations.plans import (
    CreatePlan,
    CreateResult,
    DeletePlan,
    DeleteResult,
    ListResult,
    LoadPlan,
    LoadResult,
    Versions,
)

_MEANING = {
    Consistency.CONSISTENT: "the canister was stopped and its version did not move",
    Consistency.LIVE: "taken while running: no outstanding calls are in it",
    Consistency.NOT_CONSISTENT: "somebody ran or changed the canister meanwhile",
    Consistency.UNVERIFIED: "stopped, but its version could not be read to prove it",
}


def create_plan(plan: CreatePlan) -> Report:
    """`snapshot create --dry-run`."""
    verb = "stop, take a snapshot, start" if plan.stops else "take a snapshot without stopping"
    lines = text.facts(
        (
            ("Canister", fields.place(plan)),
            ("Driver", plan.driver),
            ("Now", f"{plan.state}, snapshots: {len(plan.snapshots)}"),
            ("Will", verb),
            *fields.cycles_facts(plan.cycles),
        )
    )
    return fields.planned(plan, _create_fields(plan), lines, lost=plan.will_be_lost)


def created(result: CreateResult) -> Report:
    """`snapshot create`."""
    plan = result.plan
    lines = text.facts(
        (
            ("Snapshot", result.snapshot.snapshot_id),
            ("Canister", fields.place(plan)),
            ("Taken", fields.taken(result.snapshot)),
            ("Outage", text.seconds(result.outage_s) if plan.stops else "none"),
            ("Cycles", fields.about_cycles(plan.cycles.cost)),
            ("Promise", f"{result.consistency}: {_MEANING[result.consistency]}"),
        )
    )
    data: dict[str, Json] = {
        **fields.where(plan),
        "dry_run": False,
        "plan": _create_fields(plan),
        **fields.snapshot_fields(result.snapshot),
        "outage_seconds": round(result.outage_s, 3),
        "consistency": result.consistency.value,
        "versions": _versions_fields(result.versions),
        "running": result.running,
        "recovery_pending": result.recovery_pending,
    }
    return fields.done(
        data, lines, incomplete=result.incomplete, told=(plan.warnings, result.warnings)
    )


def listed(result: ListResult) -> Report:
    """`snapshot list`."""
    rows = [
        (
            each.snapshot.snapshot_id,
            fields.moment(each.snapshot.taken_at_ns),
            text.size(each.snapshot.size_bytes),
            each.purpose or "",
        )
        for each in result.snapshots
    ]
    count = len(rows)
    left = f"{result.free_slots} of {count + result.free_slots} slots are free."
    head = text.table(("SNAPSHOT", "TAKEN", "SIZE", "PURPOSE"), rows) if rows else ()
    known = f"{fields.place(result)} has {count or 'no'} "
    lines = (*head, f"{known}{'snapshot' if count == 1 else 'snapshots'}; {left}")
    listed_fields = [
        {**fields.snapshot_fields(each.snapshot), "purpose": each.purpose}
        for each in result.snapshots
    ]
    data: dict[str, Json] = {
        **fields.where(result),
        "snapshots": listed_fields,
        "free_slots": result.free_slots,
    }
    return Report(data=data, lines=tuple(map(text.clean, lines)))


def load_plan(plan: LoadPlan) -> Report:
    """`snapshot load --dry-run`."""
    verb = ["stop", "load", "start"] if plan.stops else ["load"]
    if plan.safety_snapshot:
        verb.insert(verb.index("load"), "take a safety snapshot")
    lines = text.facts(
        (
            ("Canister", fields.place(plan)),
            ("Driver", plan.driver),
            ("Now", f"{plan.state}, version {fields.or_unknown(plan.canister_version)}"),
            ("Snapshot", plan.snapshot.snapshot_id),
            ("Taken", fields.taken(plan.snapshot)),
            ("Will", ", ".join(verb)),
            *(("Deletes", each) for each in plan.deletes),
            *fields.cycles_facts(plan.cycles),
        )
    )
    return fields.planned(plan, _load_fields(plan), lines, lost=plan.will_be_lost)


def loaded(result: LoadResult) -> Report:
    """`snapshot load`."""
    plan = result.plan
    safety = result.safety.snapshot_id if result.safety else None
    lines = text.facts(
        (
            ("Loaded", plan.snapshot.snapshot_id),
            ("Canister", fields.place(plan)),
            ("State before", f"kept in {safety}" if safety else "not kept"),
            ("Outage", text.seconds(result.outage_s) if plan.stops else "none"),
            ("Cycles", fields.about_cycles(plan.cycles.cost)),
            *(("Deleted", each) for each in result.deleted),
        )
    )
    data: dict[str, Json] = {
        **fields.where(plan),
        "dry_run": False,
        "plan": _load_fields(plan),
        "snapshot_id": plan.snapshot.snapshot_id,
        "safety_snapshot_id": safety,
        "outage_seconds": round(result.outage_s, 3),
        "running": result.running,
        "deleted": list(result.deleted),
        "recovery_pending": result.recovery_pending,
    }
    return fields.done(
        data, lines, incomplete=result.incomplete, told=(plan.warnings, result.warnings)
    )


def delete_plan(plan: DeletePlan) -> Report:
    """`snapshot delete --dry-run`."""
    lines = text.facts(
        (
            ("Canister", fields.place(plan)),
            ("Driver", plan.driver),
            ("Snapshot", plan.snapshot.snapshot_id),
            ("Taken", fields.taken(plan.snapshot)),
            ("Will", "delete it"),
        )
    )
    return fields.planned(plan, _delete_fields(plan), lines, lost=plan.will_be_lost)


def deleted(result: DeleteResult) -> Report:
    """`snapshot delete`."""
    plan = result.plan
    count = len(result.left)
    line = (
        f"Deleted {plan.snapshot.snapshot_id} of {fields.place(plan)}; "
        f"{count or 'no'} {'snapshot is' if count == 1 else 'snapshots are'} left."
    )
    data: dict[str, Json] = {
        **fields.where(plan),
        "dry_run": False,
        "plan": _delete_fields(plan),
        "snapshot_id": plan.snapshot.snapshot_id,
        "left": [fields.snapshot_fields(each) for each in result.left],
    }
    return fields.done(data, (line,), incomplete=(), told=(plan.warnings, result.warnings))


def _create_fields(plan: CreatePlan) -> dict[str, Json]:
    return {
        "state": plan.state.value,
        "stops": plan.stops,
        "replaces": plan.replaces.snapshot_id if plan.replaces else None,
        "snapshots": [fields.snapshot_fields(each) for each in plan.snapshots],
        "cycles": fields.cycles_fields(plan.cycles),
        "will_be_lost": list(plan.will_be_lost),
    }


def _load_fields(plan: LoadPlan) -> dict[str, Json]:
    return {
        "state": plan.state.value,
        "stops": plan.stops,
        **fields.snapshot_fields(plan.snapshot),
        "snapshot_version": plan.snapshot_version,
        "canister_version": plan.canister_version,
        "module_hash": plan.module_hash,
        "uploaded": plan.uploaded,
        "safety_snapshot": plan.safety_snapshot,
        "replaces": plan.replaces.snapshot_id if plan.replaces else None,
        "deletes": list(plan.deletes),
        "cycles": fields.cycles_fields(plan.cycles),
        "will_be_lost": list(plan.will_be_lost),
    }


def _delete_fields(plan: DeletePlan) -> dict[str, Json]:
    return {**fields.snapshot_fields(plan.snapshot), "will_be_lost": list(plan.will_be_lost)}


def _versions_fields(versions: Versions) -> dict[str, Json]:
    return {
        "after_stop": versions.after_stop,
        "in_snapshot": versions.in_snapshot,
        "before_start": versions.before_start,
    }
