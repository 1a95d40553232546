"""Results of commands on the repository itself, as text and as fields of `data`."""

from collections.abc import Sequence

from dfx_backup.cli import text
from dfx_backup.cli.backup_view import backup_fields
from dfx_backup.cli.output import Json, Report
from dfx_backup.errors import BackupError, IncompleteError
from dfx_backup.operations.backup_verify import LiveComparison, Verification
from dfx_backup.operations.backups import Backup
from dfx_backup.operations.repository_init import InitResult
from dfx_backup.operations.retention import ForgetPlan
from dfx_backup.repository.findings import Finding
from dfx_backup.repository.keys import KeyInfo
from dfx_backup.repository.locks import LockInfo
from dfx_backup.repository.prune import PruneReport

_SHORT = 8


def made(result: InitResult) -> Report:
    """`init`."""
    lines = text.facts(
        (
            ("Repository", result.location.text),
            ("Id", result.repository_id[:16]),
            ("Pieces", text.size(result.blob_size)),
            *(("Wrote", str(each)) for each in result.written),
            *(("Left alone", str(each)) for each in result.left),
        )
    )
    data: dict[str, Json] = {
        "repository": result.location.text,
        "repository_id": result.repository_id,
        "key_id": result.key_id,
        "blob_bytes": result.blob_size,
        "written": [str(each) for each in result.written],
        "left_alone": [str(each) for each in result.left],
    }
    return Report(data=data, lines=lines, warnings=result.warnings)


def verified(
    result: Verification, compared: Sequence[LiveComparison], failed: Sequence[BackupError]
) -> Report:
    """`verify`."""
    report, names = result.report, _names(result.backups)
    read = f"{report.packs_read} of {report.packs} packs, {text.size(report.bytes_read)}"
    lines = [
        *text.facts(
            (
                ("Backups", str(len(result.backups))),
                ("Packs read", read if report.packs_read else "none: the structure alone"),
                ("Damaged", str(len(result.damaged))),
                ("Raised", f"{len(result.raised)} to level 2"),
            )
        )
    ]
    for finding in result.findings:
        lines.append(text.clean(f"{'Note' if finding.harmless else 'DAMAGE'}: {finding.message}."))
        lines += [
            text.clean(f"  hits {names.get(hit.snapshot_id, hit.snapshot_id[:_SHORT])}: {hit.path}")
            for hit in finding.hits
        ]
    for each in compared:
        lines += _comparison_lines(each)
    data: dict[str, Json] = {
        "backups": [_verified_fields(each, result) for each in result.backups],
        "packs": report.packs,
        "packs_read": report.packs_read,
        "bytes_read": report.bytes_read,
        "findings": [_finding_fields(each, result.backups) for each in result.findings],
        "live": [_comparison_fields(each) for each in compared],
    }
    differ = [
        IncompleteError(f"{each.backup} is not what the canister is now.")
        for each in compared
        if each.differences
    ]
    damage = [] if result.error is None else [result.error]
    return Report(data=data, lines=tuple(lines), errors=(*damage, *failed, *differ))


def forget_plan(plan: ForgetPlan) -> Report:
    """`forget --dry-run`."""
    return Report(
        data={"dry_run": True, "plan": _forget_fields(plan)},
        lines=(*_forget_lines(plan), "Nothing was changed: this is the plan."),
        warnings=plan.warnings,
    )


def forgotten(plan: ForgetPlan, pruned: PruneReport | None) -> Report:
    """`forget`."""
    count = len(plan.remove)
    line = f"Forgot {count or 'no'} {'backup' if count == 1 else 'backups'}; {len(plan.keep)} left."
    hint = () if pruned or not count else ("`prune` frees the space.",)
    return Report(
        data={
            "dry_run": False,
            "plan": _forget_fields(plan),
            "prune": None if pruned is None else _prune_fields(pruned),
        },
        lines=(*_forget_lines(plan), line, *hint, *(() if pruned is None else _pruned(pruned))),
        warnings=plan.warnings,
    )


def prune_report(report: PruneReport) -> Report:
    """`prune`, done or only planned."""
    last = ("Nothing was changed: this is the plan.",) if report.dry_run else ()
    return Report(
        data={"dry_run": report.dry_run, "prune": _prune_fields(report)},
        lines=(*_pruned(report), *last),
    )


def unlocked(removed: int, left: Sequence[LockInfo]) -> Report:
    """`unlock`."""
    lines = [f"Removed {removed or 'no'} {'lock' if removed == 1 else 'locks'}; {len(left)} left."]
    lines += [text.clean(f"  {each.owner()}") for each in left]
    told: list[Json] = [
        {
            "lock_id": each.lock_id,
            "exclusive": each.exclusive,
            "hostname": each.hostname,
            "username": each.username,
            "pid": each.pid,
            "since": text.moment(int(each.time) * 10**9),
        }
        for each in left
    ]
    return Report(data={"removed": removed, "left": told}, lines=tuple(lines))


def key_added(key_id: str) -> Report:
    """`key add`."""
    line = f"Key {key_id[:_SHORT]} was added."
    return Report(data={"key_id": key_id}, lines=(line,))


def keys_listed(keys: Sequence[KeyInfo]) -> Report:
    """`key list`."""
    rows = [
        (
            each.key_id[:_SHORT],
            _created(each) or "unknown",
            f"{each.username}@{each.hostname}",
            "this one" if each.current else "",
        )
        for each in keys
    ]
    return Report(
        data={"keys": [_key_fields(each) for each in keys]},
        lines=text.table(("KEY", "MADE", "BY", "OPENED"), rows),
    )


def key_removed(removed: KeyInfo, left: Sequence[KeyInfo]) -> Report:
    """`key remove`."""
    return Report(
        data={"key_id": removed.key_id, "keys": [_key_fields(each) for each in left]},
        lines=(f"Key {removed.key_id[:_SHORT]} was removed; {len(left)} left.",),
        warnings=(
            "Whoever copied the key's object and knows its password can still read the repository.",
        ),
    )


def key_changed(old: str, new: str) -> Report:
    """`key passwd`."""
    return Report(
        data={"removed": old, "key_id": new},
        lines=(f"Key {new[:_SHORT]} took the place of {old[:_SHORT]}.",),
    )


def _names(backups: Sequence[Backup]) -> dict[str, str]:
    return {each.snapshot.snapshot_id: str(each) for each in backups}


def _verified_fields(backup: Backup, result: Verification) -> dict[str, Json]:
    raised = backup.backup_id in result.raised
    return {
        "backup_id": backup.backup_id,
        "canister_id": backup.canister_id,
        "canister_name": backup.canister_name,
        "network": backup.network_name,
        "damaged": backup in result.damaged,
        "level": 2 if raised else backup.level,
        "raised": raised,
    }


def _finding_fields(finding: Finding, backups: Sequence[Backup]) -> dict[str, Json]:
    ids = {each.snapshot.snapshot_id: each.backup_id for each in backups}
    return {
        "sort": finding.sort.value,
        "object": finding.name,
        "message": finding.message,
        "harmless": finding.harmless,
        "hits": [
            {
                "backup_id": ids.get(hit.snapshot_id),
                "restic_id": hit.snapshot_id,
                "file": hit.path,
                "blobs": hit.blobs,
            }
            for hit in finding.hits
        ],
    }


def _comparison_lines(compared: LiveComparison) -> list[str]:
    if not compared.differences:
        lines = [f"{compared.backup}: as the canister is now."]
    else:
        lines = [f"{compared.backup}: the canister differs now."]
    lines += [f"  {each.what}: {each.then} then, {each.now} now" for each in compared.differences]
    lines += [f"  {each}" for each in compared.unknown]
    return [text.clean(line) for line in lines]


def _comparison_fields(compared: LiveComparison) -> dict[str, Json]:
    return {
        "backup_id": compared.backup.backup_id,
        "differences": [
            {"what": each.what, "then": each.then, "now": each.now} for each in compared.differences
        ],
        "unknown": list(compared.unknown),
    }


def _forget_fields(plan: ForgetPlan) -> dict[str, Json]:
    return {
        "remove": [backup_fields(each) for each in plan.remove],
        "keep": [
            {**backup_fields(each), "reasons": list(plan.reasons.get(each.backup_id, ()))}
            for each in plan.keep
        ],
        "orphaned_notes": len(plan.orphans),
        "will_be_lost": list(plan.will_be_lost),
    }


def _forget_lines(plan: ForgetPlan) -> tuple[str, ...]:
    rows = [
        (*_row(each), "keep", ", ".join(plan.reasons.get(each.backup_id, ()))) for each in plan.keep
    ]
    rows += [(*_row(each), "FORGET", "") for each in plan.remove]
    return text.table(("BACKUP", "TAKEN", "CANISTER", "WILL", "WHY"), rows) if rows else ()


def _row(backup: Backup) -> tuple[str, str, str]:
    name = f"{backup.subject} on {backup.network_name}"
    return backup.backup_id[:_SHORT], text.moment(int(backup.time) * 10**9), name


def _prune_fields(report: PruneReport) -> dict[str, Json]:
    plan = report.plan
    return {
        "backups": report.backups,
        "packs_to_drop": len(plan.drop),
        "packs_to_repack": len(plan.repack),
        "packs_to_keep": plan.keep,
        "young_packs": plan.young,
        "unused_bytes": plan.unused_bytes,
        "freed_bytes": plan.freed_bytes,
        "packs_written": report.packs_written,
        "packs_removed": report.packs_removed,
        "bytes_written": report.bytes_written,
        "bytes_removed": report.bytes_removed,
    }


def _pruned(report: PruneReport) -> tuple[str, ...]:
    plan = report.plan
    verb = "Would free" if report.dry_run else "Freed"
    packs = f"{len(plan.drop)} dropped, {len(plan.repack)} written anew, {plan.keep} kept"
    young = f"; {plan.young} younger than a day wait" if plan.young else ""
    return text.facts(
        (
            ("Unused", text.size(plan.unused_bytes)),
            ("Packs", packs),
            (verb, f"{text.size(plan.freed_bytes)}{young}"),
        )
    )


def _key_fields(key: KeyInfo) -> dict[str, Json]:
    return {
        "key_id": key.key_id,
        "hostname": key.hostname,
        "username": key.username,
        "created_at": _created(key),
        "current": key.current,
    }


def _created(key: KeyInfo) -> str | None:
    return None if key.created is None else text.moment(int(key.created) * 10**9)
