"""What `create` will do and has done, as text and as the fields of `data`."""

from collections.abc import Sequence

from dfx_backup.cli import fields, text
from dfx_backup.cli.output import Json, Report
from dfx_backup.cli.transfer_view import moved_in
from dfx_backup.errors import IncompleteError
from dfx_backup.operations.backup_create_plan import (
    BackupPlan,
    BackupResult,
    MemberPlan,
    MemberResult,
)
from dfx_backup.transfer.parts import PartsReport

_LEVELS = {
    0: "0: not certified to us",
    1: "1: certified and committed",
}


def create_plan(plan: BackupPlan) -> Report:
    """`create --dry-run`."""
    lines: list[str] = []
    for each in plan.members:
        lines += [*_plan_lines(each, leaves_stopped=plan.leaves_stopped), ""]
    lines += text.facts((("Repository", plan.repository),))
    lost = [f"Lost: {text.clean(each)}" for member in plan.members for each in _lost(member)]
    return Report(
        data={
            "dry_run": True,
            **_head(plan),
            "plan": [_plan_fields(each) for each in plan.members],
        },
        lines=(*lines, *lost, "Nothing was changed: this is the plan."),
        warnings=(*plan.warnings, *(told for each in plan.members for told in each.warnings)),
    )


def created(result: BackupResult) -> Report:
    """`create`; the three numbers come last."""
    lines: list[str] = []
    for each in result.members:
        lines += [*_result_lines(each), ""]
    if result.set_id is not None and result.members:
        told = f"{result.set_id}: `restore set:{result.set_id[:8]}` brings all of it back"
        lines += [*text.facts((("Set", told),)), ""]
    lines += _numbers(result)
    data: dict[str, Json] = {
        "dry_run": False,
        **_head(result.plan),
        "plan": [_plan_fields(each) for each in result.plan.members],
        "set_id": result.set_id,
        "backups": [_result_fields(each) for each in result.members],
    }
    return Report(
        data=data,
        lines=tuple(lines),
        warnings=result.warnings,
        errors=tuple(IncompleteError(each) for each in result.incomplete),
    )


def _head(plan: BackupPlan) -> dict[str, Json]:
    return {"repository": plan.repository, "leaves_stopped": plan.leaves_stopped}


def _lost(plan: MemberPlan) -> tuple[str, ...]:
    taken = () if plan.take is None else plan.take.will_be_lost
    deleted = [
        f"Snapshot {each} of {plan.canister}: one of ours, not needed after the backup."
        for each in plan.deletes
    ]
    return (*taken, *deleted)


def _plan_lines(plan: MemberPlan, *, leaves_stopped: bool) -> Sequence[str]:
    facts = [("Canister", fields.place(plan)), ("Driver", plan.driver)]
    if plan.take is None:
        assert plan.snapshot is not None  # one of the two is there
        facts += [("Snapshot", plan.snapshot.snapshot_id), ("Taken", fields.taken(plan.snapshot))]
        verbs = ["download it; nothing is stopped"]
    elif plan.take.stops:
        verbs = ["stop", "take a snapshot", "start", "download"]
        if leaves_stopped:
            verbs = ["stop", "take a snapshot", "download", "leave it stopped"]
    else:
        verbs = ["take a snapshot without stopping", "download"]
    facts += [
        ("Will", ", ".join(verbs)),
        ("Downloads", f"at most {text.size(plan.size_bytes)}"),
        ("Cycles", fields.about_cycles(plan.cycles)),
        ("Keeps", f"{text.counted(plan.keep_on_chain, 'snapshot')} of ours on the subnet"),
    ]
    return text.facts(facts)


def _plan_fields(plan: MemberPlan) -> dict[str, Json]:
    take, snapshot = plan.take, plan.snapshot
    return {
        **fields.where(plan),
        "state": None if take is None else take.state.value,
        "stops": take is not None and take.stops,
        "replaces": take.replaces.snapshot_id if take and take.replaces else None,
        "snapshot": None if snapshot is None else fields.snapshot_fields(snapshot),
        "goes_on": plan.goes_on,
        "way": plan.way.value,
        "total_bytes": plan.size_bytes,
        "cost": fields.count(plan.cycles),
        "cycles": None if take is None else fields.cycles_fields(take.cycles),
        "keep_on_chain": plan.keep_on_chain,
        "deletes": list(plan.deletes),
        "will_be_lost": list(_lost(plan)),
    }


def _result_lines(result: MemberResult) -> Sequence[str]:
    details, report = result.details, result.report
    facts = [
        ("Backup", details.backup_id),
        ("Canister", fields.place(result.plan)),
        ("Taken", text.moment(details.taken_at_ns)),
        ("Promise", details.consistency.value),
        ("Size", text.size(details.raw_bytes)),
        ("New", f"{text.size(details.new_bytes)}, {text.size(details.stored_bytes)} stored"),
    ]
    if report is not None:
        facts.append(("Moved", moved_in(report.moved_bytes, report.calls, report.seconds)))
    if result.plan.take is not None or result.plan.goes_on:  # or nobody looked
        facts.append(("On chain", ", ".join(result.kept) or "nothing of ours"))
    facts += [("Deleted", each) for each in result.deleted]
    return text.facts(facts)


def _numbers(result: BackupResult) -> Sequence[str]:
    """Outage, cycles and level: of several canisters the longest, the sum and the lowest."""
    all_ = [each.details for each in result.members]
    if not all_:
        return ()
    outages = [each.outage_s for each in all_ if each.outage_s is not None]
    costs = [each.cycles_estimate for each in all_ if each.cycles_estimate is not None]
    outage = text.seconds(max(outages)) if outages else "unknown"
    if any(each.plan.goes_on for each in result.members):
        outage += ", in the run that took it"
    existed = all(each.plan.take is None and not each.plan.goes_on for each in result.members)
    if result.plan.leaves_stopped:
        outage = "goes on: nothing was started"
    elif existed or (outages and not max(outages)):
        outage = "none"
    level = min(each.level for each in all_)
    return text.facts(
        (
            ("Outage", outage),
            ("Cycles", fields.about_cycles(sum(costs) if costs else None)),
            ("Level", _LEVELS.get(level, str(level))),
        )
    )


def _result_fields(result: MemberResult) -> dict[str, Json]:
    details, report = result.details, result.report
    outage = None if details.outage_s is None else round(details.outage_s, 3)
    versions = result.versions
    return {
        **fields.where(result.plan),
        "backup_id": details.backup_id,
        "restic_id": result.restic_id,
        "snapshot_id": result.snapshot_id,
        "taken_at": text.rfc3339(details.taken_at_ns),
        "outage_seconds": outage,
        "consistency": details.consistency.value,
        "versions": {
            "after_stop": versions.after_stop,
            "in_snapshot": versions.in_snapshot,
            "before_start": versions.before_start,
        },
        "level": details.level,
        "goes_on": result.plan.goes_on,
        "running": result.running,
        "recovery_pending": result.recovery_pending,
        "raw_bytes": details.raw_bytes,
        "new_bytes": details.new_bytes,
        "stored_bytes": details.stored_bytes,
        "cycles_spent": fields.count(details.cycles_estimate),
        "transfer": None if report is None else _transfer_fields(report),
        "kept_on_chain": list(result.kept),
        "deleted": list(result.deleted),
    }


def _transfer_fields(report: PartsReport) -> dict[str, Json]:
    rate = None if report.seconds <= 0 else round(report.moved_bytes / report.seconds)
    return {
        "moved_bytes": report.moved_bytes,
        "calls": report.calls,
        "retries": report.retries,
        "window": report.window,
        "seconds": round(report.seconds, 3),
        "bytes_per_second": rate,
    }
