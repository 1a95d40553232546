"""The findings of `doctor`, as text and as the fields of `data`."""

from dfx_backup.cli import text
from dfx_backup.cli.output import Report
from dfx_backup.errors import BackupError
from dfx_backup.operations.doctor_findings import DoctorResult, Finding, Verdict


def examined(result: DoctorResult) -> Report:
    """`doctor`."""
    return Report(
        data={
            "findings": [
                {
                    "name": text.clean(found.name),
                    "topic": found.topic.value,
                    "state": found.state.value,
                    "detail": text.clean(found.detail),
                    "advice": text.sentence(found.advice) if found.advice else None,
                }
                for found in result.findings
            ]
        },
        lines=tuple(line for found in result.findings for line in _lines(found)),
        errors=tuple(_error(found) for found in result.findings if found.state is Verdict.FAIL),
        errors_in_lines=True,
    )


def _lines(found: Finding) -> tuple[str, ...]:
    head = f"{found.state.upper():<4}  {found.name}: {found.detail}"
    advice = (f"      {text.sentence(found.advice)}",) if found.advice else ()
    return tuple(map(text.clean, (head, *advice)))


def _error(found: Finding) -> BackupError:
    """The error that a command would have ended with."""
    family = next(
        (each for each in BackupError.__subclasses__() if each.exit_code == found.exit_code),
        BackupError,
    )
    return family(f"the check `{found.name}` failed: {found.detail}", hint=found.advice)
