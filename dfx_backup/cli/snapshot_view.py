"""Plans and results of the `snapshot` commands, as text and as the fields of `data`."""

from collections.abc import Mapping, Sequence
from itertools import chain

from dfx_backup.cli import text
from dfx_backup.cli.output import Json, Report
from dfx_backup.errors import IncompleteError
from dfx_backup.model import CanisterSnapshot, Consistency
from dfx_backup.operations.plans import (
    CreatePlan,
    CreateResult,
    CyclesCheck,
    DeletePlan,
    DeleteResult,
    ListResult,
    LoadPlan,
    LoadResult,
    Versions,
)

Plan = CreatePlan | LoadPlan | DeletePlan

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
            ("Canister", _place(plan)),
            ("Driver", plan.driver),
            ("Now", f"{plan.state}, {len(plan.snapshots)} snapshots"),
            ("Will", verb),
            *_cycles_facts(plan.cycles),
        )
    )
    return _planned(plan, _create_fields(plan), lines)


def created(result: CreateResult) -> Report:
    """`snapshot create`."""
    plan = result.plan
    lines = text.facts(
        (
            ("Snapshot", result.snapshot.snapshot_id),
            ("Canister", _place(plan)),
            ("Taken", _taken(result.snapshot)),
            ("Outage", text.seconds(result.outage_s) if plan.stops else "none"),
            ("Cycles", _about(plan.cycles.cost)),
            ("Promise", f"{result.consistency}: {_MEANING[result.consistency]}"),
        )
    )
    data: dict[str, Json] = {
        **_where(plan),
        "dry_run": False,
        "plan": _create_fields(plan),
        **_snapshot_fields(result.snapshot),
        "outage_seconds": round(result.outage_s, 3),
        "consistency": result.consistency.value,
        "versions": _versions_fields(result.versions),
        "running": result.running,
        "recovery_pending": result.recovery_pending,
    }
    return _done(data, lines, incomplete=result.incomplete, told=(plan.warnings, result.warnings))


def listed(result: ListResult) -> Report:
    """`snapshot list`."""
    rows = [
        (
            each.snapshot.snapshot_id,
            _moment(each.snapshot.taken_at_ns),
            text.size(each.snapshot.size_bytes),
            "yes" if each.ours else "",
        )
        for each in result.snapshots
    ]
    count = len(rows)
    left = f"{result.free_slots} of {count + result.free_slots} slots are free."
    head = text.table(("SNAPSHOT", "TAKEN", "SIZE", "OURS"), rows) if rows else ()
    known = f"{_place(result)} has {count or 'no'} "
    lines = (*head, f"{known}{'snapshot' if count == 1 else 'snapshots'}; {left}")
    listed_fields = [
        {**_snapshot_fields(each.snapshot), "ours": each.ours} for each in result.snapshots
    ]
    data: dict[str, Json] = {
        **_where(result),
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
            ("Canister", _place(plan)),
            ("Driver", plan.driver),
            ("Now", f"{plan.state}, version {_or_unknown(plan.canister_version)}"),
            ("Snapshot", plan.snapshot.snapshot_id),
            ("Taken", _taken(plan.snapshot)),
            ("Will", ", ".join(verb)),
            *(("Deletes", each) for each in plan.deletes),
            *_cycles_facts(plan.cycles),
        )
    )
    return _planned(plan, _load_fields(plan), lines)


def loaded(result: LoadResult) -> Report:
    """`snapshot load`."""
    plan = result.plan
    safety = result.safety.snapshot_id if result.safety else None
    lines = text.facts(
        (
            ("Loaded", plan.snapshot.snapshot_id),
            ("Canister", _place(plan)),
            ("State before", f"kept in {safety}" if safety else "not kept"),
            ("Outage", text.seconds(result.outage_s) if plan.stops else "none"),
            ("Cycles", _about(plan.cycles.cost)),
            *(("Deleted", each) for each in result.deleted),
        )
    )
    data: dict[str, Json] = {
        **_where(plan),
        "dry_run": False,
        "plan": _load_fields(plan),
        "snapshot_id": plan.snapshot.snapshot_id,
        "safety_snapshot_id": safety,
        "outage_seconds": round(result.outage_s, 3),
        "running": result.running,
        "deleted": list(result.deleted),
        "recovery_pending": result.recovery_pending,
    }
    return _done(data, lines, incomplete=result.incomplete, told=(plan.warnings, result.warnings))


def delete_plan(plan: DeletePlan) -> Report:
    """`snapshot delete --dry-run`."""
    lines = text.facts(
        (
            ("Canister", _place(plan)),
            ("Driver", plan.driver),
            ("Snapshot", plan.snapshot.snapshot_id),
            ("Taken", _taken(plan.snapshot)),
            ("Will", "delete it"),
        )
    )
    return _planned(plan, _delete_fields(plan), lines)


def deleted(result: DeleteResult) -> Report:
    """`snapshot delete`."""
    plan = result.plan
    count = len(result.left)
    line = (
        f"Deleted {plan.snapshot.snapshot_id} of {_place(plan)}; "
        f"{count or 'no'} {'snapshot is' if count == 1 else 'snapshots are'} left."
    )
    data: dict[str, Json] = {
        **_where(plan),
        "dry_run": False,
        "plan": _delete_fields(plan),
        "snapshot_id": plan.snapshot.snapshot_id,
        "left": [_snapshot_fields(each) for each in result.left],
    }
    return _done(data, (line,), incomplete=(), told=(plan.warnings, result.warnings))


def _planned(plan: Plan, fields: Mapping[str, Json], lines: Sequence[str]) -> Report:
    lost = tuple(f"Lost: {text.clean(each)}" for each in plan.will_be_lost)
    return Report(
        data={**_where(plan), "dry_run": True, "plan": fields},
        lines=(*lines, *lost, "Nothing was changed: this is the plan."),
        warnings=plan.warnings,
    )


def _done(
    data: Mapping[str, Json],
    lines: tuple[str, ...],
    *,
    incomplete: tuple[str, ...],
    told: tuple[tuple[str, ...], ...],
) -> Report:
    return Report(
        data=data,
        lines=lines,
        warnings=tuple(chain.from_iterable(told)),
        errors=tuple(IncompleteError(each) for each in incomplete),
    )


def _where(about: Plan | ListResult) -> dict[str, Json]:
    return {
        "canister_id": about.canister.canister_id,
        "canister_name": about.canister.name,
        "network": about.network.name,
        "network_id": about.network_id,
        "driver": about.driver,
    }


def _create_fields(plan: CreatePlan) -> dict[str, Json]:
    return {
        "state": plan.state.value,
        "stops": plan.stops,
        "replaces": plan.replaces.snapshot_id if plan.replaces else None,
        "snapshots": [_snapshot_fields(each) for each in plan.snapshots],
        "cycles": _cycles_fields(plan.cycles),
        "will_be_lost": list(plan.will_be_lost),
    }


def _load_fields(plan: LoadPlan) -> dict[str, Json]:
    return {
        "state": plan.state.value,
        "stops": plan.stops,
        **_snapshot_fields(plan.snapshot),
        "snapshot_version": plan.snapshot_version,
        "canister_version": plan.canister_version,
        "module_hash": plan.module_hash,
        "uploaded": plan.uploaded,
        "safety_snapshot": plan.safety_snapshot,
        "replaces": plan.replaces.snapshot_id if plan.replaces else None,
        "deletes": list(plan.deletes),
        "cycles": _cycles_fields(plan.cycles),
        "will_be_lost": list(plan.will_be_lost),
    }


def _delete_fields(plan: DeletePlan) -> dict[str, Json]:
    return {**_snapshot_fields(plan.snapshot), "will_be_lost": list(plan.will_be_lost)}


def _snapshot_fields(snapshot: CanisterSnapshot) -> dict[str, Json]:
    taken = snapshot.taken_at_ns
    return {
        "snapshot_id": snapshot.snapshot_id,
        "taken_at": None if taken is None else text.rfc3339(taken),
        "size_bytes": snapshot.size_bytes,
    }


def _cycles_fields(check: CyclesCheck) -> dict[str, Json]:
    return {
        "balance": _count(check.balance),
        "cost": _count(check.cost),
        "required": _count(check.required),
        "top_up": str(check.top_up),
        "storage_per_day": _count(check.storage_per_day),
        "unknown": check.unknown,
    }


def _versions_fields(versions: Versions) -> dict[str, Json]:
    return {
        "after_stop": versions.after_stop,
        "in_snapshot": versions.in_snapshot,
        "before_start": versions.before_start,
    }


def _cycles_facts(check: CyclesCheck) -> tuple[tuple[str, str], ...]:
    balance = "unknown" if check.balance is None else text.cycles(check.balance)
    if check.unknown:
        return (("Cycles", f"{balance}; {check.unknown}"),)
    facts = [("Cycles", f"{balance}; this spends {_about(check.cost)}")]
    if check.storage_per_day is not None:
        facts.append(("Storage", f"{text.cycles(check.storage_per_day)} a day (estimate)"))
    return tuple(facts)


def _about(cost: int | None) -> str:
    return "unknown" if cost is None else f"about {text.cycles(cost)} (estimate)"


def _place(about: Plan | ListResult) -> str:
    return text.place(about.canister.name, about.canister.canister_id, about.network.name)


def _taken(snapshot: CanisterSnapshot) -> str:
    if snapshot.size_bytes is None:
        return _moment(snapshot.taken_at_ns)
    return f"{_moment(snapshot.taken_at_ns)}, {text.size(snapshot.size_bytes)}"


def _moment(nanoseconds: int | None) -> str:
    return "unknown" if nanoseconds is None else text.moment(nanoseconds)


def _count(amount: int | None) -> str | None:
    return None if amount is None else str(amount)


def _or_unknown(amount: int | None) -> str:
    return "unknown" if amount is None else str(amount)
