"""Plans and results of `stable`, as text and as the fields of `data`."""

from dfx_backup.cli import fields, text
from dfx_backup.cli.output import Json, Report
from dfx_backup.cli.stable_place_view import (
    place_facts,
    place_fields,
    stored_facts,
    stored_fields,
)
from dfx_backup.cli.transfer_view import moved_in, pace_fields, span, span_fields
from dfx_backup.errors import BackupError, DamageError, IncompleteError
from dfx_backup.ic.stable_endpoints import EndpointsInfo, Stream, StreamKind
from dfx_backup.operations.stable_plans import (
    LiveComparison,
    SnapshotWay,
    StableAbortPlan,
    StableExportPlan,
    StableExportResult,
    StableImportPlan,
    StableImportResult,
    StableInfoResult,
    StableVerifyResult,
)
from dfx_backup.transfer.stable_sidecar import Certified, Moment, Sidecar
from dfx_backup.transfer.stable_terms import ExportTally, Reads

_READS = {
    Reads.CERTIFIED: "every byte in a certified answer",
    Reads.HASHES: "certified hashes, and queries that must match them",
}
_CERTIFIED = {
    Certified.READS: "every answer",
    Certified.HASHES: "the hashes of all chunks",
    Certified.UNCERTIFIED: "nothing",
}
_MOMENTS = {
    Moment.VERSIONS: "proven: nothing else ran on the canister meanwhile",
    Moment.SECOND_PASS: "proven: every chunk was found the same a second time",
    Moment.SNAPSHOT: "proven: all of it is from one snapshot",
    Moment.UNPROVEN: "not proven",
}


def informed(result: StableInfoResult) -> Report:
    """`stable info`."""
    info, way = result.info, result.snapshot
    lines = [("Canister", fields.place(result))]
    if info is not None:
        began = info.import_session
        lines += [
            ("Methods", _methods(info, result.protocol)),
            ("Version", fields.or_unknown(info.canister_version)),
            (
                "Import",
                "none"
                if began is None
                else f"of {began.stream}, in progress or waiting for an upgrade",
            ),
        ]
    elif way is not None:
        lines.append(("Methods", "none were found, so --via snapshot is the way"))
    if way is not None:
        lines.append(("Snapshot", _snapshot_way(way)))
    rows = [] if info is None else [(e.name, _kind(e), text.size(e.size)) for e in info.streams]
    table = text.table(("STREAM", "KIND", "SIZE"), rows) if rows else ()
    data: dict[str, Json] = {
        **fields.where(result),
        "protocol": result.protocol.value,
        **_info_fields(info),
        "snapshot": None
        if way is None
        else {
            "stable_memory_bytes": way.size,
            "outage": span_fields(way.outage),
            "snapshots": [fields.snapshot_fields(each) for each in way.snapshots],
            "cost": fields.count(way.cycles),
        },
    }
    return fields.done(data, (*text.facts(lines), *table), told=(result.warnings,))


def _snapshot_way(way: SnapshotWay) -> str:
    told = []
    if way.outage is not None:
        told.append(f"{text.size(way.size)}; {span(way.outage)} of outage on mainnet (estimate)")
    if way.snapshots:
        there = text.counted(len(way.snapshots), "snapshot")
        told.append(f"{there} that can be read without one")
    return "; ".join(told) or "none is there, and we may take none"


def _info_fields(info: EndpointsInfo | None) -> dict[str, Json]:
    began = None if info is None else info.import_session
    return {
        "kit": None if info is None else info.kit,
        "canister_version": None if info is None else info.canister_version,
        "streams": [] if info is None else [_stream_fields(each) for each in info.streams],
        "max_read": None if info is None else info.max_read,
        "max_write": None if info is None else info.max_write,
        "import_session": None
        if began is None
        else {
            "session": str(began.session),
            "stream": began.stream,
            "size_bytes": began.size,
            "chunk_size": began.chunk_size,
            "hashes_known": began.hashes_known,
        },
    }


def export_plan(plan: StableExportPlan) -> Report:
    """`stable export --dry-run`."""
    return fields.planned(plan, _export_fields(plan), text.facts(_export_facts(plan)))


def exported(result: StableExportResult) -> Report:
    """`stable export`."""
    plan, report = result.plan, result.report
    tally, sidecar = report.tally, report.sidecar
    moved = moved_in(tally.moved_bytes, tally.calls, tally.seconds, what="read")
    lines = text.facts(
        (
            *place_facts(plan.place),
            *stored_facts(result.stored),
            ("Canister", fields.place(plan)),
            ("Stream", f"{sidecar.identity.stream}, {text.size(sidecar.hashes.size)}"),
            ("Read by", f"{_READS[plan.reads]}; {plan.reason}"),
            ("Moved", moved),
            ("Saved", _saved(tally)),
            *proof_facts(sidecar),
            ("Rounds", str(report.rounds)),
            ("Retries", str(tally.retries)),
        )
    )
    data: dict[str, Json] = {
        **fields.where(plan),
        "dry_run": False,
        "plan": _export_fields(plan),
        **sidecar_fields(sidecar),
        **place_fields(plan.place),
        **stored_fields(result.stored),
        "rounds": report.rounds,
        "hash_calls": report.hash_calls,
        "moved_bytes": tally.moved_bytes,
        "resumed_bytes": tally.resumed_bytes,
        "copied_bytes": tally.copied_bytes,
        "zero_bytes": tally.zero_bytes,
        "calls": tally.calls,
        **pace_fields(tally.moved_bytes, tally.seconds, tally.retries, tally.window),
    }
    return fields.done(
        data, lines, incomplete=result.incomplete, told=(plan.warnings, result.warnings)
    )


def verified(result: StableVerifyResult) -> Report:
    """`stable verify`."""
    sidecar, live = result.sidecar, result.live
    found = [
        ("File", str(result.paths.data)),
        ("Canister", sidecar.identity.canister_id),
        ("Stream", f"{sidecar.identity.stream}, {text.size(sidecar.hashes.size)}"),
        *proof_facts(sidecar),
        ("Whole", "no" if result.problems else f"yes: {sidecar.hashes.count} hashes compared"),
    ]
    if live is not None:
        differ = f"{text.counted(live.differing, 'chunk')} of {text.size(live.size)} differ"
        found.append(("Live", "the same" if live.same else differ))
    errors: list[BackupError] = [
        DamageError(each, hint="export the stream again") for each in result.problems
    ]
    errors += [IncompleteError(each) for each in result.incomplete]
    data: dict[str, Json] = {
        "file": str(result.paths.data),
        **sidecar_fields(sidecar),
        "canister_id": sidecar.identity.canister_id,
        "network_id": sidecar.identity.network_id,
        "whole": not result.problems,
        "problems": list(result.problems),
        "live": _live_fields(live),
    }
    return Report(data=data, lines=text.facts(found), errors=tuple(errors))


def import_plan(plan: StableImportPlan) -> Report:
    """`stable import --dry-run`."""
    copy = plan.copy
    size = text.size(copy.sidecar.hashes.size)
    lines = text.facts(
        (
            ("Canister", fields.place(plan)),
            ("Driver", plan.driver),
            ("Backup" if copy.file is None else "File", f"{copy.file or copy.backup_id}, {size}"),
            ("Stream", f"{plan.stream.name}, {text.size(plan.stream.size)} now"),
            *((("Goes on", f"session {plan.resumes}"),) if plan.resumes is not None else ()),
            ("Safety", "a snapshot first; stopped meanwhile" if plan.safety_snapshot else "none"),
            ("Takes", f"at most {span(plan.seconds)} on mainnet (estimate)"),
            ("Cycles", f"at most {fields.about_cycles(plan.cycles)}"),
        )
    )
    return fields.planned(plan, _import_fields(plan), lines, lost=plan.will_be_lost)


def imported(result: StableImportResult) -> Report:
    """`stable import`."""
    plan, report = result.plan, result.report
    moved = moved_in(report.moved_bytes, report.calls, report.seconds, what="write")
    safety = "none" if result.safety is None else result.safety.snapshot_id
    lines = text.facts(
        (
            ("Canister", fields.place(plan)),
            ("Stream", f"{plan.stream.name}, {text.size(report.total_bytes)}"),
            ("Safety", safety),
            ("Outage", text.seconds(result.outage_s)),
            ("Moved", moved),
            ("Saved", f"{text.size(report.same_bytes)} were the same there already"),
            ("Checked", "all hashes, by the canister"),
            ("Retries", str(report.retries)),
            *((("Next", text.sentence(result.next_step)),) if result.next_step else ()),
        )
    )
    data: dict[str, Json] = {
        **fields.where(plan),
        "dry_run": False,
        "plan": _import_fields(plan),
        "session": str(report.session),
        "resumed": report.resumed,
        "total_bytes": report.total_bytes,
        "moved_bytes": report.moved_bytes,
        "same_bytes": report.same_bytes,
        "calls": report.calls,
        "hash_calls": report.hash_calls,
        "finish_calls": report.finish_calls,
        **pace_fields(report.moved_bytes, report.seconds, report.retries, report.window),
        "safety_snapshot": None if result.safety is None else fields.snapshot_fields(result.safety),
        "outage_seconds": round(result.outage_s, 3),
        "import_mode": result.import_mode,
        "next_step": result.next_step,
    }
    return fields.done(
        data, lines, incomplete=result.incomplete, told=(plan.warnings, result.warnings)
    )


def abort_plan(plan: StableAbortPlan) -> Report:
    """`stable import --abort --dry-run`."""
    return fields.planned(plan, _abort_fields(plan), _abort_lines(plan), lost=plan.will_be_lost)


def aborted(plan: StableAbortPlan) -> Report:
    """`stable import --abort`."""
    data = {**fields.where(plan), "dry_run": False, "plan": _abort_fields(plan), "aborted": True}
    return fields.done(data, _abort_lines(plan), told=(plan.warnings, plan.will_be_lost))


def _abort_lines(plan: StableAbortPlan) -> tuple[str, ...]:
    return text.facts(
        (("Canister", fields.place(plan)), ("Gives up", f"the import of {plan.stream}"))
    )


def _abort_fields(plan: StableAbortPlan) -> dict[str, Json]:
    return {
        "session": str(plan.session),
        "stream": plan.stream,
        "will_be_lost": list(plan.will_be_lost),
    }


def _export_facts(plan: StableExportPlan) -> tuple[tuple[str, str], ...]:
    size = f"{plan.stream.name}, {text.size(plan.stream.size)}"
    return (
        ("Canister", fields.place(plan)),
        ("Methods", _methods(plan.info, plan.protocol)),
        ("Stream", f"{size} when it was last staged" if plan.stages else size),
        *place_facts(plan.place),
        ("Reads", f"{_READS[plan.reads]}; {plan.reason}"),
        (
            "Takes",
            f"{text.counted(plan.calls, 'call')}; on mainnet {span(plan.seconds)} (estimate)",
        ),
        ("Cycles", fields.about_cycles(plan.cycles)),
    )


def _export_fields(plan: StableExportPlan) -> dict[str, Json]:
    return {
        "protocol": plan.protocol.value,
        "kit": plan.info.kit,
        **_stream_fields(plan.stream),
        **place_fields(plan.place),
        "stages": plan.stages,
        "reads": plan.reads.value,
        "reason": plan.reason,
        "delta": plan.delta,
        "resumes": plan.resumes,
        "calls": plan.calls,
        "window": plan.window,
        "seconds": span_fields(plan.seconds),
        "cost": fields.count(plan.cycles),
    }


def _import_fields(plan: StableImportPlan) -> dict[str, Json]:
    return {
        "kit": plan.info.kit,
        **_stream_fields(plan.stream),
        "file": None if plan.copy.file is None else str(plan.copy.file),
        "backup_id": plan.copy.backup_id,
        "file_bytes": plan.copy.sidecar.hashes.size,
        "root": plan.copy.sidecar.hashes.root(),
        "resumes": None if plan.resumes is None else str(plan.resumes),
        "takes_safety_snapshot": plan.safety_snapshot,
        "replaces": plan.replaces.snapshot_id if plan.replaces else None,
        "window": plan.window,
        "seconds": span_fields(plan.seconds),
        "cost": fields.count(plan.cycles),
        "will_be_lost": list(plan.will_be_lost),
    }


def _stream_fields(stream: Stream) -> dict[str, Json]:
    return {
        "stream": stream.name,
        "kind": stream.kind.value,
        "memory_id": stream.memory_id,
        "size_bytes": stream.size,
    }


def sidecar_fields(sidecar: Sidecar) -> dict[str, Json]:
    """What is known of a copy, as a script reads it."""
    versions = sidecar.versions
    return {
        "stream": sidecar.identity.stream,
        "kind": sidecar.kind,
        "protocol": sidecar.identity.protocol,
        "size_bytes": sidecar.hashes.size,
        "chunk_size": sidecar.hashes.chunk_size,
        "root": sidecar.hashes.root(),
        "certified": sidecar.certified.value,
        "moment": sidecar.moment.value,
        "canister_versions": None if versions is None else list(versions),
    }


def _live_fields(live: LiveComparison | None) -> Json:
    if live is None:
        return None
    return {"same": live.same, "size_bytes": live.size, "differing_chunks": live.differing}


def proof_facts(sidecar: Sidecar) -> tuple[tuple[str, str], ...]:
    """What proves a copy, as lines."""
    return (
        ("Certified", _CERTIFIED[sidecar.certified]),
        ("One moment", _MOMENTS[sidecar.moment]),
    )


def _saved(tally: ExportTally) -> str:
    parts = [f"{text.size(tally.zero_bytes)} were known to be zero"]
    if tally.copied_bytes:
        parts.append(f"{text.size(tally.copied_bytes)} are as they were in the earlier export")
    if tally.resumed_bytes:
        parts.append(f"{text.size(tally.resumed_bytes)} were there already")
    return "; ".join(parts)


def _methods(info: EndpointsInfo, protocol: str) -> str:
    return f"{info.kit}, protocol {info.protocol}" if info.protocol else protocol


def _kind(stream: Stream) -> str:
    if stream.kind is StreamKind.VIRTUAL_MEMORY:
        return f"virtual memory {stream.memory_id}"
    return "stable memory" if stream.kind is StreamKind.STABLE_MEMORY else "app"
