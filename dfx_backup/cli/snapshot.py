"""`snapshot create`, `list`, `load` and `delete`: native snapshots that the subnet keeps.

`transfer` adds the commands that move them.

Operations are imported by the command that runs: `--help` of another one must not wait for them.
"""

from typing import Annotated

import typer

from dfx_backup.cli import fields, transfer
from dfx_backup.cli.options import (
    AllowStoppedOption,
    CanisterArgument,
    DryRunOption,
    ReplaceOption,
    SkipSafetySnapshotOption,
    SnapshotArgument,
    YesOption,
)
from dfx_backup.cli.output import Report
from dfx_backup.cli.session import Run, command, require_command
from dfx_backup.cli.words import optional_snapshot_id, snapshot_id

group = typer.Typer(
    rich_markup_mode=None,
    help="Take, list, load, delete, download and upload canister snapshots.",
    callback=require_command,
    invoke_without_command=True,
)


def register(app: typer.Typer) -> None:
    """Put the group into the tree."""
    app.add_typer(group, name="snapshot")


@command(group, "create")
def create_snapshot(
    run: Run,
    canister: CanisterArgument,
    *,
    replace: ReplaceOption = None,
    live: Annotated[
        bool,
        typer.Option("--live", help="Do not stop the canister (driver `agent` only)."),
    ] = False,
    allow_stopped: AllowStoppedOption = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> Report:
    """Stop the canister, take a snapshot, and start it again."""
    from dfx_backup.cli import snapshot_view as view
    from dfx_backup.operations.plans import CreateOptions
    from dfx_backup.operations.snapshot_create import create, plan_create

    options = CreateOptions(
        live=live, replace=optional_snapshot_id(replace), allow_stopped=allow_stopped
    )
    target = run.connector.canister(run, canister, changes=not dry_run)
    if dry_run:
        return view.create_plan(plan_create(run.runtime, target, options))
    if options.replace is not None:
        plan = plan_create(run.runtime, target, options)
        run.confirm(yes=yes, losses=plan.will_be_lost, question=f"Replace a snapshot of {target}")
    return view.created(create(run.runtime, target, options))


@command(group, "list")
def list_(run: Run, canister: CanisterArgument) -> Report:
    """List the canister's snapshots, the oldest first."""
    from dfx_backup.cli import snapshot_view as view
    from dfx_backup.operations.snapshot_listing import list_snapshots

    target = run.connector.canister(run, canister, changes=False)
    return view.listed(list_snapshots(run.runtime, target))


@command(group, "load")
def load_snapshot(  # noqa: PLR0913 - one parameter for each option
    run: Run,
    canister: CanisterArgument,
    snapshot: SnapshotArgument,
    *,
    skip_safety_snapshot: SkipSafetySnapshotOption = False,
    replace: ReplaceOption = None,
    from_other_canister: Annotated[
        bool,
        typer.Option("--from-other-canister", help="The snapshot is another canister's."),
    ] = False,
    allow_stopped: AllowStoppedOption = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> Report:
    """Replace the canister's state by a snapshot, keeping the present one in another."""
    from dfx_backup.cli import snapshot_view as view
    from dfx_backup.operations.plans import LoadOptions
    from dfx_backup.operations.snapshot_load import load, plan_load

    options = LoadOptions(
        snapshot=snapshot_id(snapshot),
        skip_safety_snapshot=skip_safety_snapshot,
        replace=optional_snapshot_id(replace),
        other_canister=from_other_canister,
        allow_stopped=allow_stopped,
    )
    target = run.connector.canister(run, canister, changes=not dry_run, restores=True)
    plan = plan_load(run.runtime, target, options)
    if dry_run:
        return view.load_plan(plan)
    run.confirm(
        yes=yes,
        losses=plan.will_be_lost,
        question=f"Load {options.snapshot} into {target}",
        notes=(*fields.spending(plan.cycles), *plan.warnings),
    )
    return view.loaded(load(run.runtime, target, options))


@command(group, "delete")
def delete_snapshot(
    run: Run,
    canister: CanisterArgument,
    snapshot: SnapshotArgument,
    *,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> Report:
    """Delete a canister snapshot from the subnet."""
    from dfx_backup.cli import snapshot_view as view
    from dfx_backup.operations.snapshot_delete import delete, plan_delete

    wanted = snapshot_id(snapshot)
    target = run.connector.canister(run, canister, changes=not dry_run)
    plan = plan_delete(run.runtime, target, wanted)
    if dry_run:
        return view.delete_plan(plan)
    run.confirm(yes=yes, losses=plan.will_be_lost, question=f"Delete {wanted} of {target}")
    return view.deleted(delete(run.runtime, target, wanted))


transfer.register(group)
