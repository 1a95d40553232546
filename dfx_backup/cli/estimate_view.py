"""The result of `estimate`, as text and as the fields of `data`."""

from dfx_backup.cli import fields, text
from dfx_backup.cli.output import Json, Report
from dfx_backup.cli.transfer_view import span, span_fields
from dfx_backup.operations.estimate import Estimate, Step

_FREE = "This network charges nothing; the figures are those of mainnet."
_UPLOAD = "An upload does not send zero pages: it is cheaper the more there are."


def estimated(result: Estimate) -> Report:
    """`estimate`."""
    steps = (
        ("take", result.take),
        ("load", result.load),
        ("download", result.download),
        ("upload", result.upload),
    )
    rows = [
        (
            name,
            "-" if step.outage is None else span(step.outage),
            span(step.seconds),
            text.cycles(step.cycles),
        )
        for name, step in steps
    ]
    low, high = result.storage_per_month
    lines = (
        *text.facts(
            (
                ("Canister", fields.place(result)),
                ("Snapshot", f"at most {text.size(result.size_bytes)}"),
                ("Subnet", f"{result.nodes} nodes"),
                *_balance(result),
            )
        ),
        "",
        *text.table(("OPERATION", "OUTAGE", "TIME", "CYCLES"), rows),
        "",
        f"Keeping one snapshot costs {text.cycles(low)} to {text.cycles(high)} cycles a month.",
    )
    data: dict[str, Json] = {
        **fields.where(result),
        "size_bytes": result.size_bytes,
        "nodes": result.nodes,
        "free": result.free,
        **{name: _step_fields(step) for name, step in steps},
        "storage_per_month": {"low": str(low), "high": str(high)},
        "cycles": fields.cycles_fields(result.check),
    }
    return Report(data=data, lines=lines, warnings=(_UPLOAD, _FREE) if result.free else (_UPLOAD,))


def _balance(result: Estimate) -> tuple[tuple[str, str], ...]:
    check = result.check
    if check.unknown is not None or check.balance is None:
        return (("Balance", f"unknown: {check.unknown}"),)
    told = f"{text.cycles(check.balance)} cycles"
    if check.top_up:
        told += f"; one more snapshot needs {text.cycles(check.top_up)} more"
    return (("Balance", told),)


def _step_fields(step: Step) -> dict[str, Json]:
    return {
        "cost": str(step.cycles),
        "seconds": span_fields(step.seconds),
        "outage_seconds": span_fields(step.outage),
        "calls": step.calls,
    }
