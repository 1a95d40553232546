"""Plans and results of `restore`, as text and as the fields of `data`."""

from dfx_backup.cli import fields, text, transfer_view
from dfx_backup.cli.output import Json, Report
from dfx_backup.errors import IncompleteError
from dfx_backup.operations.plans import LoadResult
from dfx_backup.operations.restore_plans import RestorePlan, RestoreResult, SetPlan, SetResult


def spending(plan: RestorePlan) -> tuple[str, ...]:
    """What is spent, in sentences to think of before the answer."""
    sent = plan.upload.what.send_bytes
    told = (
        f"{text.size(sent)} are sent, which takes {transfer_view.span(plan.upload.seconds)} on"
        " mainnet (estimate); the canister goes on meanwhile."
    )
    return (told, *fields.spending(plan.cycles))


def planned(plan: RestorePlan) -> Report:
    """`restore --dry-run`."""
    return fields.planned(plan, plan_fields(plan), _planned_lines(plan), lost=plan.will_be_lost)


def _planned_lines(plan: RestorePlan) -> tuple[str, ...]:
    what = plan.upload.what
    lines = text.facts(
        (
            ("Backup", f"{plan.backup.backup_id}, taken {_taken(plan)}"),
            ("Canister", fields.place(plan)),
            ("Driver", plan.driver),
            ("Now", f"{plan.load.state}, version {fields.or_unknown(plan.load.canister_version)}"),
            *((("Goes on", plan.upload.resumes),) if plan.upload.resumes else ()),
            ("Sends", f"{text.size(what.send_bytes)}; {text.size(what.zero_bytes)} are zero"),
            ("Takes", f"{text.counted(what.envelopes, 'call')}; {_time(plan)}"),
            ("Checks", f"{plan.upload.read_back.value}: reads back and compares"),
            ("Then", _steps(plan)),
            *fields.cycles_facts(plan.cycles),
        )
    )
    return tuple(lines)


def restored(result: RestoreResult) -> Report:
    """`restore`."""
    plan = result.plan
    failed = () if result.failure is None else (result.failure,)
    return Report(
        data={**fields.where(plan), "dry_run": False, **result_fields(result)},
        lines=_restored_lines(result),
        warnings=tuple(dict.fromkeys((*plan.remarks, *result.warnings))),
        errors=(*failed, *(IncompleteError(each) for each in result.incomplete)),
    )


def set_notes(plan: SetPlan) -> tuple[str, ...]:
    """What to think of before the answer, for all of a set."""
    notes = (note for each in plan.plans for note in (*spending(each), *each.warnings))
    return tuple(dict.fromkeys(notes))


def set_planned(plan: SetPlan) -> Report:
    """`restore set:… --dry-run`."""
    lines: list[str] = []
    for each in plan.plans:
        lost = (f"Lost: {text.clean(one)}" for one in each.will_be_lost)
        lines += [*_planned_lines(each), *lost, ""]
    return Report(
        data={
            "set_id": plan.set_id,
            "dry_run": True,
            "plans": [{**fields.where(each), **plan_fields(each)} for each in plan.plans],
        },
        lines=(*lines, "Nothing was changed: this is the plan."),
        warnings=tuple(dict.fromkeys(told for each in plan.plans for told in each.warnings)),
    )


def set_restored(result: SetResult) -> Report:
    """`restore set:…`."""
    lines: list[str] = []
    for each in result.results:
        lines += [*_restored_lines(each), ""]
    failed = () if result.failure is None else (result.failure,)
    incomplete = [IncompleteError(told) for each in result.results for told in each.incomplete]
    warnings = (told for each in result.results for told in (*each.plan.remarks, *each.warnings))
    return Report(
        data={
            "set_id": result.plan.set_id,
            "dry_run": False,
            "restored": [
                {**fields.where(each.plan), **result_fields(each)} for each in result.results
            ],
        },
        lines=(*lines, f"All {len(result.results)} canisters of the set are restored."),
        warnings=tuple(dict.fromkeys(warnings)),
        errors=(*failed, *incomplete),
    )


def _restored_lines(result: RestoreResult) -> tuple[str, ...]:
    plan, loaded = result.plan, result.load
    safety = loaded.safety.snapshot_id if loaded.safety else None
    facts = [
        ("Restored", f"{plan.backup.backup_id}, taken {_taken(plan)}"),
        ("Canister", fields.place(plan)),
        ("Sent", _sent(result)),
        ("Safety", safety or "none was taken"),
        ("Outage", text.seconds(loaded.outage_s) if plan.load.stops else "none"),
        ("Cycles", fields.about_cycles(plan.cycles.cost)),
        ("Now", "running" if result.running else "stopped"),
    ]
    if result.checked is not None:
        facts.append(("Check", "passed" if result.checked else "FAILED"))
    if result.rolled_back is not None:
        facts.append(("Back to", safety or ""))
    if plan.settings is not None:
        facts.append(("Settings", "applied" if result.settings_applied else "not applied"))
    if result.level is not None:
        facts.append(("Level", f"{result.level}: restored and read back whole"))
    return tuple(text.facts(facts))


def plan_fields(plan: RestorePlan) -> dict[str, Json]:
    """A plan as a script reads it."""
    what = plan.upload.what
    return {
        "backup_id": plan.backup.backup_id,
        "set_id": plan.backup.set_id,
        "taken_at": text.rfc3339(round(plan.backup.time * 1e6) * 1000),
        "elsewhere": plan.elsewhere,
        "state": plan.load.state.value,
        "resumes": plan.upload.resumes,
        "way": plan.upload.way.value,
        "total_bytes": what.total_bytes,
        "send_bytes": what.send_bytes,
        "zero_bytes": what.zero_bytes,
        "calls": what.envelopes,
        "seconds": transfer_view.span_fields(plan.upload.seconds),
        "read_back": plan.upload.read_back.value,
        "installs_stub": plan.upload.installs_stub,
        "keep_timer": plan.upload.keep_timer,
        "keep_hook_status": plan.upload.keep_hook_status,
        "heartbeat": plan.upload.heartbeat,
        "stops": plan.load.stops,
        "safety_snapshot": plan.load.safety_snapshot,
        "replaces": plan.load.replaces.snapshot_id if plan.load.replaces else None,
        "deletes": list(plan.load.deletes),
        "starts": plan.starts,
        "check": plan.check,
        "rollback": plan.rollback,
        "settings": None
        if plan.settings is None
        else [
            {"name": each.name, "old": each.old, "new": each.new} for each in plan.settings.changes
        ],
        "cycles": fields.cycles_fields(plan.cycles),
        "will_be_lost": list(plan.will_be_lost),
    }


def result_fields(result: RestoreResult) -> dict[str, Json]:
    """What was done as a script reads it."""
    report, loaded = result.report, result.load
    return {
        "plan": plan_fields(result.plan),
        "backup_id": result.plan.backup.backup_id,
        "snapshot_id": result.snapshot_id,
        "safety_snapshot_id": loaded.safety.snapshot_id if loaded.safety else None,
        "sent_bytes": None if report is None else report.sent_bytes,
        "resumed_bytes": None if report is None else report.resumed_bytes,
        "checked_bytes": None if report is None else report.checked_bytes,
        "retries": None if report is None else report.retries,
        "seconds": None if report is None else round(report.seconds, 3),
        "outage_seconds": round(loaded.outage_s, 3),
        "running": result.running,
        "recovery_pending": loaded.recovery_pending or _pending(result.rolled_back),
        "deleted": [*loaded.deleted, *((result.snapshot_id,) if result.upload_deleted else ())],
        "checked": result.checked,
        "rolled_back": result.rolled_back is not None,
        "settings_applied": result.settings_applied,
        "level": result.level,
    }


def _pending(result: LoadResult | None) -> bool:
    return result is not None and result.recovery_pending


def _taken(plan: RestorePlan) -> str:
    return text.moment(int(plan.backup.time) * 10**9)


def _time(plan: RestorePlan) -> str:
    return f"on mainnet {transfer_view.span(plan.upload.seconds)} (estimate)"


def _sent(result: RestoreResult) -> str:
    report = result.report
    if report is None:
        return f"by {result.plan.driver}"
    told = [text.size(report.sent_bytes), f"{text.size(report.zero_bytes)} of zeros were not sent"]
    if report.resumed_bytes:
        told.append(f"{text.size(report.resumed_bytes)} were there already")
    told.append(f"{text.size(report.checked_bytes)} read back, and the same")
    return "; ".join(told)


def _steps(plan: RestorePlan) -> str:
    steps = (
        *(("stop",) if plan.load.stops else ()),
        *(("take a safety snapshot",) if plan.load.safety_snapshot else ()),
        "load",
        *(("start",) if plan.load.stops and plan.starts else ()),
        *((f"check with `{plan.check}`",) if plan.check else ()),
        "delete what was uploaded",
        *(("apply the settings",) if plan.settings is not None else ()),
    )
    return ", ".join(steps)
