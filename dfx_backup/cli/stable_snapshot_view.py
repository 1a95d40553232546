"""Plans and results of `stable` through a snapshot, as text and as the fields of `data`."""

from dfx_backup.cli import fields, text
from dfx_backup.cli.output import Json, Report
from dfx_backup.cli.stable_view import proof_facts, sidecar_fields
from dfx_backup.cli.transfer_view import moved_in, pace_fields, span, span_fields
from dfx_backup.operations.durations import Span
from dfx_backup.operations.stable_snapshot_plans import (
    SnapshotExportPlan,
    SnapshotExportResult,
    SnapshotImportPlan,
    SnapshotImportResult,
)


def export_plan(plan: SnapshotExportPlan) -> Report:
    """`stable export --via snapshot --dry-run`."""
    lines = text.facts(
        (
            ("Canister", fields.place(plan)),
            ("Driver", plan.driver),
            ("Snapshot", _snapshot(plan)),
            ("Outage", _outage(plan.outage)),
            ("File", str(plan.paths.data)),
            ("Reads", f"{text.size(plan.size)} of stable memory, in certified slices"),
            ("Takes", _takes(plan.seconds, plan.calls)),
            ("Cycles", fields.about_cycles(plan.cycles)),
        )
    )
    return fields.planned(plan, _export_fields(plan), lines)


def exported(result: SnapshotExportResult) -> Report:
    """`stable export --via snapshot`."""
    plan, tally, sidecar = result.plan, result.report.tally, result.report.sidecar
    moved = moved_in(tally.moved_bytes, tally.calls, tally.seconds, what="read")
    saved = [f"{text.size(tally.zero_bytes)} of zeros take no space"]
    if tally.resumed_bytes:
        saved.append(f"{text.size(tally.resumed_bytes)} were there already")
    lines = text.facts(
        (
            ("File", str(plan.paths.data)),
            ("Canister", fields.place(plan)),
            ("Stream", f"{sidecar.identity.stream}, {text.size(sidecar.hashes.size)}"),
            ("Snapshot", f"{result.snapshot_id}{', deleted' if result.deleted else ''}"),
            *_label(result),
            *proof_facts(sidecar),
            ("Outage", text.seconds(result.outage_s) if result.outage_s else "none"),
            ("Moved", moved),
            ("Saved", "; ".join(saved)),
            ("Cycles", fields.about_cycles(result.cycles)),
            ("Retries", str(tally.retries)),
        )
    )
    data: dict[str, Json] = {
        **fields.where(plan),
        "dry_run": False,
        "plan": _export_fields(plan),
        **sidecar_fields(sidecar),
        "file": str(plan.paths.data),
        "snapshot_id": result.snapshot_id,
        "snapshot_deleted": result.deleted,
        "consistency": None if result.consistency is None else result.consistency.value,
        "outage_seconds": round(result.outage_s, 3),
        "moved_bytes": tally.moved_bytes,
        "resumed_bytes": tally.resumed_bytes,
        "zero_bytes": tally.zero_bytes,
        "calls": tally.calls,
        "cost": fields.count(result.cycles),
        **pace_fields(tally.moved_bytes, tally.seconds, tally.retries, tally.window),
    }
    return fields.done(
        data, lines, incomplete=result.incomplete, told=(plan.warnings, result.warnings)
    )


def spending(plan: SnapshotImportPlan) -> tuple[str, ...]:
    """What is moved and spent, in sentences to think of before the answer."""
    moved = f"{text.size(plan.fetch_bytes)} are read and {text.size(plan.send_bytes)} sent"
    upgrade = ", and what an upgrade takes" if plan.rebuilds else ""
    return (
        f"At most {moved}: {_takes(plan.seconds, None)}; the canister goes on meanwhile.",
        f"Outage: {_outage(plan.outage)}{upgrade}.",
        f"Cycles: {fields.about_cycles(plan.cycles)}.",
    )


def import_plan(plan: SnapshotImportPlan) -> Report:
    """`stable import --via snapshot --dry-run`."""
    lines = text.facts(
        (
            ("Canister", fields.place(plan)),
            ("Driver", plan.driver),
            ("Copy", f"{plan.copy}, {text.size(plan.size)}"),
            ("Now", f"{text.size(plan.size_now)} of stable memory"),
            ("Base", _base(plan)),
            *((("Goes on", plan.resumes),) if plan.resumes else ()),
            ("Reads", f"at most {text.size(plan.fetch_bytes)}: module and heap of the base"),
            ("Sends", f"at most {text.size(plan.send_bytes)}"),
            ("Takes", _takes(plan.seconds, None)),
            ("Then", _steps(plan)),
            ("Outage", _outage(plan.outage)),
            ("Cycles", fields.about_cycles(plan.cycles)),
        )
    )
    return fields.planned(plan, _import_fields(plan), lines, lost=plan.will_be_lost)


def imported(result: SnapshotImportResult) -> Report:
    """`stable import --via snapshot`."""
    plan, report, load = result.plan, result.report, result.load
    sent = [text.size(report.sent_bytes), f"{text.size(report.zero_bytes)} of zeros were not sent"]
    if report.resumed_bytes:
        sent.append(f"{text.size(report.resumed_bytes)} were there already")
    sent.append(f"{text.size(report.checked_bytes)} read back, and the same")
    safety = None if load.safety is None else load.safety.snapshot_id
    outage_s = result.base_outage_s + load.outage_s
    lines = text.facts(
        (
            ("Canister", fields.place(plan)),
            ("Imported", f"{plan.copy}, {text.size(plan.size)}"),
            ("Sent", "; ".join(sent)),
            ("Heap", "rebuilt by post_upgrade" if result.rebuilt else "that of the base snapshot"),
            ("Safety", safety or "none was taken"),
            ("Outage", text.seconds(outage_s) if outage_s else "none"),
            ("Cycles", fields.about_cycles(plan.cycles)),
            ("Now", "running" if load.running else "stopped"),
            ("Retries", str(report.retries)),
        )
    )
    data: dict[str, Json] = {
        **fields.where(plan),
        "dry_run": False,
        "plan": _import_fields(plan),
        "snapshot_id": report.snapshot_id,
        "safety_snapshot_id": safety,
        "fetched_bytes": result.fetched_bytes,
        "sent_bytes": report.sent_bytes,
        "resumed_bytes": report.resumed_bytes,
        "zero_bytes": report.zero_bytes,
        "checked_bytes": report.checked_bytes,
        "calls": report.envelopes,
        **pace_fields(report.sent_bytes, report.seconds, report.retries, report.window),
        "outage_seconds": round(outage_s, 3),
        "base_outage_seconds": round(result.base_outage_s, 3),
        "heap_rebuilt": result.rebuilt,
        "running": load.running,
        "recovery_pending": load.recovery_pending,
        "deleted": list(result.deleted),
    }
    return fields.done(
        data, lines, incomplete=result.incomplete, told=(plan.warnings, result.warnings)
    )


def _export_fields(plan: SnapshotExportPlan) -> dict[str, Json]:
    return {
        "via": "snapshot",
        "file": str(plan.paths.data),
        "takes_snapshot": plan.take is not None,
        "snapshot_id": None if plan.snapshot is None else plan.snapshot.snapshot_id,
        "goes_on": plan.goes_on,
        "stops": plan.take is not None and plan.take.stops,
        "outage": span_fields(plan.outage),
        "size_bytes": plan.size,
        "calls": plan.calls,
        "window": plan.window,
        "seconds": span_fields(plan.seconds),
        "cost": fields.count(plan.cycles),
    }


def _import_fields(plan: SnapshotImportPlan) -> dict[str, Json]:
    return {
        "via": "snapshot",
        "copy": str(plan.copy),
        "root": plan.copy.sidecar.hashes.root(),
        "size_bytes": plan.size,
        "size_bytes_now": plan.size_now,
        "takes_base_snapshot": plan.take is not None,
        "base_taken_at": None if plan.base is None else text.rfc3339(plan.base),
        "resumes": plan.resumes,
        "fetch_bytes": plan.fetch_bytes,
        "send_bytes": plan.send_bytes,
        "stops": plan.load.stops,
        "outage": span_fields(plan.outage),
        "takes_safety_snapshot": plan.load.safety_snapshot,
        "replaces": plan.load.replaces.snapshot_id if plan.load.replaces else None,
        "deletes": list(plan.load.deletes),
        "heap_from_stable": plan.rebuilds,
        "module": None if plan.module is None else str(plan.module),
        "window": plan.window,
        "seconds": span_fields(plan.seconds),
        "cost": fields.count(plan.cycles),
        "will_be_lost": list(plan.will_be_lost),
    }


def _snapshot(plan: SnapshotExportPlan) -> str:
    if plan.snapshot is None:
        return "a new one, deleted in the end"
    told = f"{plan.snapshot.snapshot_id}, taken {fields.taken(plan.snapshot)}"
    return f"{told}; deleted in the end" if plan.goes_on else told


def _label(result: SnapshotExportResult) -> tuple[tuple[str, str], ...]:
    if result.consistency is None:
        return ()
    return (("Label", result.consistency.value),)


def _base(plan: SnapshotImportPlan) -> str:
    if plan.base is not None:
        return f"that of an earlier run, taken {fields.moment(plan.base)}"
    return "a snapshot of the canister as it is, deleted when it is read"


def _steps(plan: SnapshotImportPlan) -> str:
    rebuild = f"upgrade with {plan.module}" if plan.module else "upgrade with its own module"
    steps = (
        *(("stop",) if plan.load.stops else ()),
        *(("take a safety snapshot",) if plan.load.safety_snapshot else ()),
        "load",
        *((f"{rebuild}, without pre_upgrade",) if plan.rebuilds else ()),
        *(("start",) if plan.load.stops else ()),
        "delete what was uploaded",
    )
    return ", ".join(steps)


def _outage(seconds: Span | None) -> str:
    return "none" if seconds is None else f"{span(seconds)} on mainnet (estimate)"


def _takes(seconds: Span | None, calls: int | None) -> str:
    if seconds is None:
        return "unknown"
    told = f"on mainnet {span(seconds)} (estimate)"
    return told if calls is None else f"{text.counted(calls, 'call')}; {told}"
