"""`forget` and `prune`: which backups stay, and the space of those that do not."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

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


def register(group: typer.Typer) -> None:
    """Put the commands into the tree."""
    repository_command(group, "forget")(forget)
    repository_command(group, "prune")(prune)


def forget(  # noqa: PLR0913 - one parameter for each option
    run: Run,
    choice: RepositoryChoice,
    backup: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="BACKUP",
            help="These go; without one the rules decide.",
            show_default=False,
        ),
    ] = None,
    *,
    keep_last: Annotated[int, _keep("last", "backups")] = 0,
    keep_hourly: Annotated[int, _keep("hourly", "hours")] = 0,
    keep_daily: Annotated[int, _keep("daily", "days")] = 0,
    keep_weekly: Annotated[int, _keep("weekly", "weeks")] = 0,
    keep_monthly: Annotated[int, _keep("monthly", "months")] = 0,
    keep_yearly: Annotated[int, _keep("yearly", "years")] = 0,
    keep_within: Annotated[
        str | None,
        typer.Option(
            "--keep-within", metavar="SPAN", help="Keep all this far back, as in 1y5m7d2h."
        ),
    ] = None,
    keep_tag: Annotated[
        list[str] | None,
        typer.Option("--keep-tag", metavar="TAG", help="Keep all with it; with a,b: with both."),
    ] = None,
    canister: CanisterOption = None,
    allow_empty_group: Annotated[
        bool,
        typer.Option("--allow-empty-group", help="The last backup of a canister may go."),
    ] = False,
    prune_too: Annotated[bool, typer.Option("--prune", help="Free the space afterwards.")] = False,
    max_unused: MaxUnusedOption = "10%",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> Report:
    """Remove backups that the rules do not keep."""
    from dfx_backup.cli import repository_view as view
    from dfx_backup.cli.repository_access import access
    from dfx_backup.operations.retention import ForgetOptions, forget_backups, plan_forget
    from dfx_backup.repository.prune import prune as prune_repository
    from dfx_backup.repository.retention import Policy, Span

    typed = Policy(
        last=keep_last,
        hourly=keep_hourly,
        daily=keep_daily,
        weekly=keep_weekly,
        monthly=keep_monthly,
        yearly=keep_yearly,
        within=None if keep_within is None else Span.parse(keep_within),
        tags=tuple(tuple(each.split(",")) for each in keep_tag or ()),
    )
    options = ForgetOptions(
        names=tuple(backup or ()),
        policy=typed if typed or backup else _policy_of_settings(run),
        canister=canister,
        network=run.shared.network,
        allow_empty_group=allow_empty_group,
    )
    unused = _fraction(max_unused)
    repository = access(run, choice).open()
    plan = plan_forget(repository, options)
    if dry_run:
        return view.forget_plan(plan)
    if plan.remove:
        many = f"{len(plan.remove)} backups" if len(plan.remove) > 1 else "one backup"
        run.confirm(yes=yes, losses=plan.will_be_lost, question=f"Forget {many}")
    done = forget_backups(repository, plan, options, progress=run.view)
    pruned = None
    if prune_too:
        pruned = prune_repository(repository, progress=run.view, max_unused=unused)
    return view.forgotten(done, pruned)


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


def _policy_of_settings(run: Run) -> "Policy":
    from dfx_backup.project.settings import find_settings
    from dfx_backup.repository.retention import Policy, Span

    told = find_settings(run.surroundings.cwd).retention
    if told is None:
        return Policy()
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
