"""Plans and results of transfers, as text and as the fields of `data`."""

from dfx_backup.cli import fields, text
from dfx_backup.cli.output import Json, Report
from dfx_backup.errors import BackupError, DamageError, IncompleteError
from dfx_backup.operations.durations import Span
from dfx_backup.operations.transfer_plans import (
    Sizes,
    SnapshotDownloadPlan,
    SnapshotDownloadResult,
    SnapshotUploadPlan,
    SnapshotUploadResult,
    VerifyResult,
    Way,
)
from dfx_backup.transfer.terms import DownloadReport, FileRecord, UploadReport

_WAYS = {
    Way.DIRECT: "in slices, each one certified",
    Way.DRIVER: "by the driver, through a scratch folder; not certified to us",
}


def download_plan(plan: SnapshotDownloadPlan) -> Report:
    """`snapshot download --dry-run`."""
    lines = text.facts(
        (
            ("Canister", fields.place(plan)),
            ("Driver", plan.driver),
            ("Snapshot", plan.snapshot.snapshot_id),
            ("Taken", fields.taken(plan.snapshot)),
            ("Folder", str(plan.folder)),
            ("Moves", _WAYS[plan.way]),
            *_size_facts(plan.sizes),
            *_time_facts(plan.calls, plan.seconds),
            ("Cycles", fields.about_cycles(plan.cycles)),
        )
    )
    return fields.planned(plan, _download_fields(plan), lines)


def downloaded(result: SnapshotDownloadResult) -> Report:
    """`snapshot download`."""
    plan, report = result.plan, result.report
    lines = text.facts(
        (
            ("Folder", str(report.folder)),
            ("Snapshot", plan.snapshot.snapshot_id),
            ("Canister", fields.place(plan)),
            *_size_facts(Sizes.of(report.metadata)),
            ("Moved", moved_in(report.moved_bytes, report.slices, report.seconds)),
            ("Saved", _saved_on_download(report)),
            ("Retries", str(report.retries)),
            ("Cycles", fields.about_cycles(result.cycles)),
        )
    )
    data: dict[str, Json] = {
        **fields.where(plan),
        "dry_run": False,
        "plan": _download_fields(plan),
        "snapshot_id": plan.snapshot.snapshot_id,
        "folder": str(report.folder),
        "way": plan.way.value,
        "files": _file_fields(report.files),
        "total_bytes": report.total_bytes,
        "moved_bytes": report.moved_bytes,
        "resumed_bytes": report.resumed_bytes,
        "known_bytes": report.known_bytes,
        "zero_bytes": report.zero_bytes,
        "calls": report.slices,
        **pace_fields(report.moved_bytes, report.seconds, report.retries, report.window),
        "cycles_spent": fields.count(result.cycles),
    }
    return fields.done(data, lines, told=(plan.warnings, result.warnings))


def upload_plan(plan: SnapshotUploadPlan) -> Report:
    """`snapshot upload --dry-run`."""
    what = plan.what
    first = (("First", "install a wasm64 module that does nothing"),) if plan.installs_stub else ()
    lines = text.facts(
        (
            ("Canister", fields.place(plan)),
            ("Driver", plan.driver),
            ("Folder", f"{plan.folder}, made by {plan.kind.value}"),
            ("Now", text.counted(len(plan.snapshots), "snapshot")),
            *first,
            *((("Goes on", plan.resumes),) if plan.resumes else ()),
            ("Moves", _WAYS[plan.way]),
            *_size_facts(plan.sizes),
            ("Sends", f"{text.size(what.send_bytes)}; {text.size(what.zero_bytes)} are zero"),
            *_time_facts(what.envelopes, plan.seconds),
            ("Checks", f"{plan.read_back.value}: reads back and compares"),
            *fields.cycles_facts(plan.cycles),
        )
    )
    return fields.planned(plan, _upload_fields(plan), lines, lost=plan.will_be_lost)


def uploaded(result: SnapshotUploadResult) -> Report:
    """`snapshot upload`."""
    plan, report = result.plan, result.report
    lines = text.facts(
        (
            ("Snapshot", result.snapshot_id),
            ("Canister", fields.place(plan)),
            *_size_facts(plan.sizes),
            *(() if report is None else _upload_facts(report)),
            ("Cycles", fields.about_cycles(result.cycles)),
            ("To load it", result.load_command),
        )
    )
    data: dict[str, Json] = {
        **fields.where(plan),
        "dry_run": False,
        "plan": _upload_fields(plan),
        "snapshot_id": result.snapshot_id,
        "way": plan.way.value,
        "total_bytes": plan.what.total_bytes,
        **_upload_numbers(report),
        "cycles_spent": fields.count(result.cycles),
        "load_command": result.load_command,
    }
    return fields.done(data, lines, told=(plan.warnings, result.warnings))


def verified(result: VerifyResult) -> Report:
    """`snapshot verify`; a folder that is damaged is told file by file."""
    report = result.report
    whole = not report.problems
    identity, metadata = report.identity, report.metadata
    found = [("Folder", str(report.folder)), ("Made by", report.kind.value)]
    if identity is not None:
        found += [("Snapshot", identity.snapshot_id), ("Canister", identity.canister_id)]
    found += _size_facts(None if metadata is None else Sizes.of(metadata))
    if whole:
        hashes = "compared" if report.hashes else "none are recorded"
        found.append(("Whole", f"yes: {len(report.files)} files; hashes: {hashes}"))
    else:
        found.append(("Whole", "no"))
    errors: list[BackupError] = [
        DamageError(f"{report.folder}: {each}", hint="download the snapshot again")
        for each in report.problems
    ]
    errors += [IncompleteError(each) for each in result.incomplete]
    data: dict[str, Json] = {
        "folder": str(report.folder),
        "made_by": report.kind.value,
        "canister_id": None if identity is None else identity.canister_id,
        "snapshot_id": None if identity is None else identity.snapshot_id,
        "network_id": None if identity is None else identity.network_id,
        "sizes": None if metadata is None else _sizes_fields(Sizes.of(metadata)),
        "files": _file_fields(report.files),
        "hashes": report.hashes,
        "whole": whole,
        "problems": list(report.problems),
    }
    return Report(data=data, lines=text.facts(found), errors=tuple(errors))


def _download_fields(plan: SnapshotDownloadPlan) -> dict[str, Json]:
    return {
        **fields.snapshot_fields(plan.snapshot),
        "folder": str(plan.folder),
        "way": plan.way.value,
        "resume": plan.resume,
        "sizes": None if plan.sizes is None else _sizes_fields(plan.sizes),
        "calls": plan.calls,
        "window": plan.window,
        "seconds": span_fields(plan.seconds),
        "cost": fields.count(plan.cycles),
    }


def _upload_fields(plan: SnapshotUploadPlan) -> dict[str, Json]:
    what = plan.what
    return {
        "folder": str(plan.folder),
        "made_by": plan.kind.value,
        "way": plan.way.value,
        "resumes": plan.resumes,
        "replaces": plan.replaces.snapshot_id if plan.replaces else None,
        "snapshots": [fields.snapshot_fields(each) for each in plan.snapshots],
        "installs_stub": plan.installs_stub,
        "keep_timer": plan.keep_timer,
        "keep_hook_status": plan.keep_hook_status,
        "heartbeat": plan.heartbeat,
        "read_back": plan.read_back.value,
        "sizes": _sizes_fields(plan.sizes),
        "total_bytes": what.total_bytes,
        "send_bytes": what.send_bytes,
        "zero_bytes": what.zero_bytes,
        "calls": what.envelopes,
        "window": plan.window,
        "seconds": span_fields(plan.seconds),
        "cycles": fields.cycles_fields(plan.cycles),
        "will_be_lost": list(plan.will_be_lost),
    }


def _upload_facts(report: UploadReport) -> tuple[tuple[str, str], ...]:
    saved = [f"{text.size(report.zero_bytes)} of zeros were not sent"]
    if report.resumed_bytes:
        saved.append(f"{text.size(report.resumed_bytes)} were there already")
    return (
        ("Moved", moved_in(report.sent_bytes, report.envelopes, report.seconds)),
        ("Saved", "; ".join(saved)),
        ("Read back", f"{text.size(report.checked_bytes)}, and the same"),
        ("Retries", str(report.retries)),
    )


def _upload_numbers(report: UploadReport | None) -> dict[str, Json]:
    if report is None:
        names = ("moved_bytes", "resumed_bytes", "zero_bytes", "checked_bytes", "calls")
        pace = ("seconds", "bytes_per_second", "retries", "window")
        return dict.fromkeys((*names, *pace))
    return {
        "moved_bytes": report.sent_bytes,
        "resumed_bytes": report.resumed_bytes,
        "zero_bytes": report.zero_bytes,
        "checked_bytes": report.checked_bytes,
        "calls": report.envelopes,
        **pace_fields(report.sent_bytes, report.seconds, report.retries, report.window),
    }


def pace_fields(moved: int, seconds: float, retries: int, window: int) -> dict[str, Json]:
    """How fast something was moved, as a script reads it."""
    return {
        "seconds": round(seconds, 3),
        "bytes_per_second": round(moved / seconds) if seconds > 0 else None,
        "retries": retries,
        "window": window,
    }


def moved_in(moved: int, calls: int, seconds: float, *, what: str = "call") -> str:
    """What was moved and how fast: `1.5 GiB in 3 calls, 20.4 MB/s`."""
    told = f"{text.size(moved)} in {text.counted(calls, what)}"
    return f"{told}, {text.rate(moved / seconds)}" if seconds > 0 and moved else told


def _saved_on_download(report: DownloadReport) -> str:
    parts = [f"{text.size(report.zero_bytes)} of zeros take no space"]
    if report.resumed_bytes:
        parts.append(f"{text.size(report.resumed_bytes)} were there already")
    if report.known_bytes:
        parts.append(f"{text.size(report.known_bytes)} were known")
    return "; ".join(parts)


def _size_facts(sizes: Sizes | None) -> list[tuple[str, str]]:
    if sizes is None:
        return []
    parts = [
        f"module {text.size(sizes.wasm_module)}",
        f"heap {text.size(sizes.wasm_memory)}",
        f"stable memory {text.size(sizes.stable_memory)}",
    ]
    if sizes.wasm_chunks:
        parts.append(text.counted(sizes.wasm_chunks, "Wasm chunk"))
    return [("Size", ", ".join(parts))]


def _time_facts(calls: int | None, seconds: Span | None) -> tuple[tuple[str, str], ...]:
    if calls is None or seconds is None:
        return ()
    return (("Takes", f"{text.counted(calls, 'call')}; on mainnet {span(seconds)} (estimate)"),)


def span(seconds: Span) -> str:
    """A span of time as people say it."""
    low, high = text.duration(seconds.low), text.duration(seconds.high)
    return low if low == high else f"{low} to {high}"


def span_fields(seconds: Span | None) -> Json:
    """A span of time as a script reads it."""
    if seconds is None:
        return None
    return {"low": round(seconds.low, 3), "high": round(seconds.high, 3)}


def _sizes_fields(sizes: Sizes) -> dict[str, Json]:
    return {
        "wasm_module": sizes.wasm_module,
        "wasm_memory": sizes.wasm_memory,
        "stable_memory": sizes.stable_memory,
        "wasm_chunks": sizes.wasm_chunks,
    }


def _file_fields(files: tuple[FileRecord, ...]) -> list[Json]:
    return [
        {
            "name": each.name,
            "size_bytes": each.size,
            "sha256": each.sha256,
            "pages": fields.pages(each.pages),
        }
        for each in files
    ]
