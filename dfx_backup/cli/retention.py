"""`forget` and `prune`: which backups stay, and the space of those that do not."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dfx_backup.cli.backup import CanisterOption
from dfx_backup.cli.options import DryRunOption, YesOption
from dfx_backup.cli.output import Report
from dfx_backup.cli.repository_options import RepositoryChoice, repository_command
from dfx_backup.cli.session import Run
from dfx_backup.errors import UsageError

if TYPE_CHECKING:
    from dfx_backup.repository.retention import Policy


def _keep(what: str, kind: str) -> "typer.models.OptionInfo":
    option: typer.models.OptionInfo = typer.Option(
        f"--keep-{what}", metavar="N", min=-1, help=f"Keep the newest of N {kind}; -1 for all."
    )
    return option


MaxUnusedOption = Annotated[
    str,
    typer.Option(
        "--max-unused", metavar="PERCENT", help="So much of what stays may be unused space."
    ),
]


GoingArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="BACKUP", help="These go; without one the rules decide.", show_default=False
    ),
]

KeepWithinOption = Annotated[
    str | None,
    typer.Option("--keep-within", metavar="SPAN", help="Keep all this far back, as in 1y5m7d2h."),
]

KeepTagOption = Annotated[
    list[str] | None,
    typer.Option("--keep-tag", metavar="TAG", help="Keep all with it; with a,b: with both."),
]

AllowEmptyGroupOption = Annotated[
    bool, typer.Option("--allow-empty-group", help="The last backup of a canister may go.")
]

PruneOption = Annotated[bool, typer.Option("--prune", help="Free the space afterwards.")]

_COUNTS = ("last", "hourly", "daily", "weekly", "monthly", "yearly")


def register(group: typer.Typer) -> None:
    """Put the commands into the tree."""
    repository_command(group, "forget")(forget)
    repository_command(group, "prune")(prune)


def forget(  # noqa: PLR0913 - one parameter for each option
    run: Run,
    choice: RepositoryChoice,
    backup: GoingArgument = None,
    *,
    keep_last: Annotated[int, _keep("last", "backups")] = 0,
    keep_hourly: Annotated[int, _keep("hourly", "hours")] = 0,
    keep_daily: Annotated[int, _keep("daily", "days")] = 0,
    keep_weekly: Annotated[int, _keep("weekly", "weeks")] = 0,
    keep_monthly: Annotated[int, _keep("monthly", "months")] = 0,
    keep_yearly: Annotated[int, _keep("yearly", "years")] = 0,
    keep_within: KeepWithinOption = None,
    keep_tag: KeepTagOption = None,
    canister: CanisterOption = None,
    allow_empty_group: AllowEmptyGroupOption = False,
    prune_too: PruneOption = False,
    max_unused: MaxUnusedOption = "10%",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> Report:
    """Remove backups that the rules do not keep."""
    counts = (keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly)
    names, tags = tuple(backup or ()), tuple(keep_tag or ())
    policy = _policy(run, counts, within=keep_within, tags=tags, named=bool(names))
    typed = _Forget(
        names=names,
        policy=policy,
        canister=canister,
        allow_empty_group=allow_empty_group,
        max_unused=_fraction(max_unused) if prune_too else None,
        dry_run=dry_run,
        yes=yes,
    )
    return _forget(run, choice, typed)


def prune(
    run: Run,
    choice: RepositoryChoice,
    *,
    max_unused: MaxUnusedOption = "10%",
    dry_run: DryRunOption = False,
) -> Report:
    """Free the space that no backup needs; packs of the last day wait."""
    from dfx_backup.cli import repository_view as view
    from dfx_backup.cli.repository_access import access
    from dfx_backup.repository.prune import prune as prune_repository

    unused = _fraction(max_unused)
    repository = access(run, choice).open()
    report = prune_repository(repository, progress=run.view, max_unused=unused, dry_run=dry_run)
    return view.prune_report(report)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Forget:
    """`forget` as it was typed; `max_unused` is None when nothing is pruned."""

    names: tuple[str, ...]
    policy: "Policy"
    canister: str | None
    allow_empty_group: bool
    max_unused: float | None
    dry_run: bool
    yes: bool


def _forget(run: Run, choice: RepositoryChoice, typed: _Forget) -> Report:
    from dfx_backup.cli import repository_view as view
    from dfx_backup.cli.repository_access import access
    from dfx_backup.operations.retention import ForgetOptions, forget_backups, plan_forget
    from dfx_backup.repository.reading import reading

    options = ForgetOptions(
        names=typed.names,
        policy=typed.policy,
        canister=typed.canister,
        network=run.shared.network,
        allow_empty_group=typed.allow_empty_group,
    )
    repository = access(run, choice).open()
    with reading(repository, run.view):
        plan = plan_forget(repository, options)
    if typed.dry_run:
        return view.forget_plan(plan)
    if plan.remove:
        many = f"{len(plan.remove)} backups" if len(plan.remove) > 1 else "one backup"
        run.confirm(yes=typed.yes, losses=plan.will_be_lost, question=f"Forget {many}")
    done, pruned = forget_backups(
        repository, plan, options, progress=run.view, max_unused=typed.max_unused
    )
    return view.forgotten(done, pruned)


def _policy(
    run: Run,
    counts: tuple[int, ...],
    *,
    within: str | None,
    tags: tuple[str, ...],
    named: bool,
) -> "Policy":
    """The rules on the command line; without any, and without names, those of the settings."""
    from dfx_backup.project.settings import find_settings
    from dfx_backup.repository.retention import Policy, Span

    lists = tuple(tuple(each.split(",")) for each in tags)
    span = None if within is None else Span.parse(within)
    numbers: dict[str, Any] = dict(zip(_COUNTS, counts, strict=True))
    typed = Policy(**numbers, within=span, tags=lists)
    told = find_settings(run.surroundings.cwd).retention
    if typed or named or told is None:
        return typed
    values = asdict(told)
    values["within"] = None if told.within is None else Span.parse(told.within)
    return Policy(**values)


def _fraction(typed: str) -> float:
    try:
        percent = float(typed.removesuffix("%"))
    except ValueError:
        percent = -1.0
    if not 0 <= percent < 100:
        raise UsageError(f"`{typed}` is no percentage below 100", hint="Write `5%`.")
    return percent / 100
