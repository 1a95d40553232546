"""Make a stream of a canister's memory what a copy is, through the canister's own methods."""

from contextlib import closing

from dfx_backup.errors import DamageError, RefusedError
from dfx_backup.ic.stable_endpoints import EndpointsInfo, ImportSession, Stream, StreamKind
from dfx_backup.model import CanisterSnapshot
from dfx_backup.operations import snapshot_create, stable_source, transfers
from dfx_backup.operations import stable_costs as costs
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.plans import CreateOptions
from dfx_backup.operations.stable_copies import StableCopy, about_copy
from dfx_backup.operations.stable_plans import (
    StableAbortPlan,
    StableImportOptions,
    StableImportPlan,
    StableImportResult,
)
from dfx_backup.operations.target import Runtime, Target
from dfx_backup.transfer.stable_check import damage_of
from dfx_backup.transfer.stable_import import goes_on_with, import_stream
from dfx_backup.transfer.terms import TransferProgress

_GIVEN_UP = (
    "The import of {stream} is given up; what it has written to {target} stays there, and the"
    " canister stays in import mode until it is upgraded."
)
NEXT_STEP = (
    "install the module again with an upgrade that skips pre_upgrade: until then the canister is"
    " in import mode, because its heap belongs to the memory that was there"
)


def plan_import(run: Runtime, target: Target, options: StableImportOptions) -> StableImportPlan:
    """Say what an import will overwrite, and what it costs. Nothing is changed.

    Raises:
        UsageError: the identity's key can't be read, or `replace` names no snapshot.
        RefusedError: the copy is another canister's, another import is in progress, or the safety
            snapshot can't be taken.
        ProjectError, DamageError: the files can't be read or understood.
        EndpointError: the canister has no such methods or no such stream, or we may not call.
        NetworkError, ToolError: as the network or the driver tells them.
    """
    sidecar = options.copy.sidecar
    info = stable_source.endpoints(target).info()
    stream = stable_source.choose_stream(info, options.stream or sidecar.identity.stream)
    resumes = goes_on_with(info, stream.name, sidecar.hashes)
    other = info.import_session
    if resumes is None and other is not None and _is_open(other, stream):
        raise RefusedError(
            f"an import of {other.stream} is in progress on {target}",
            hint="end it first: the same command again, or `stable import --abort`",
        )
    safety = not options.skip_safety_snapshot and resumes is None
    replaces: CanisterSnapshot | None = None
    warnings = list(_warnings(target, stream, options))
    if safety:
        taken = snapshot_create.plan_create(run, target, CreateOptions(replace=options.replace))
        replaces = taken.replaces
        warnings += taken.warnings
    size = sidecar.hashes.size
    return StableImportPlan(
        canister=target.ref,
        network=target.network,
        network_id=target.network_id,
        driver=target.driver.describe(),
        info=info,
        stream=stream,
        copy=options.copy,
        resumes=None if resumes is None else resumes.session,
        safety_snapshot=safety,
        replaces=replaces,
        window=options.window,
        seconds=costs.writes_time(size, options.window),
        cycles=costs.writes_cost(size, max(size, stream.size), info.kit),
        will_be_lost=_losses(target, stream, replaces, safety=safety),
        warnings=tuple(warnings),
    )


def import_(
    run: Runtime, target: Target, options: StableImportOptions, progress: TransferProgress
) -> StableImportResult:
    """Check the file, keep the present state, write what differs, and let the canister check it.

    Interrupted at any point, the same command goes on.

    Raises:
        DamageError: the file is not what its sidecar says.
        CanisterDownError: the canister could not be started after the safety snapshot.
        InterruptedRunError: a signal has come; the same command goes on.
        UsageError, RefusedError, EndpointError, NetworkError, ToolError: as `plan_import`, or from
            a step.
    """
    plan = plan_import(run, target, options)
    _require_whole(plan.copy, progress)
    safety = None
    if plan.safety_snapshot:
        progress.step("keeping the present state in a snapshot, with the canister stopped")
        safety = snapshot_create.create(run, target, CreateOptions(replace=options.replace))
    writer = stable_source.endpoints(target)
    with (
        Interrupts() as interrupts,
        interrupts.deferred(),
        transfers.goes_on(_again(run, target, plan, options)),
    ):
        report = import_stream(
            writer,
            plan.stream.name,
            plan.copy.open(),
            plan.copy.sidecar.hashes,
            options=transfers.options(run, interrupts, options.window),
            progress=progress,
        )
        import_mode = _in_import_mode(writer.info(), plan.stream)
    return StableImportResult(
        plan=plan,
        report=report,
        safety=None if safety is None else safety.snapshot,
        outage_s=0.0 if safety is None else safety.outage_s,
        import_mode=import_mode,
        next_step=NEXT_STEP if import_mode else None,
        incomplete=() if safety is None else safety.incomplete,
        warnings=() if safety is None else safety.warnings,
    )


def plan_abort(target: Target) -> StableAbortPlan:
    """The import that would be given up.

    Raises:
        RefusedError: none is in progress.
        UsageError, EndpointError, NetworkError: as `plan_import`.
    """
    found = stable_source.endpoints(target).info().import_session
    if found is None:
        raise RefusedError(f"no import is in progress on {target}")
    return StableAbortPlan(
        canister=target.ref,
        network=target.network,
        network_id=target.network_id,
        driver=target.driver.describe(),
        session=found.session,
        stream=found.stream,
        will_be_lost=(_GIVEN_UP.format(stream=found.stream, target=target),),
    )


def abort(target: Target) -> StableAbortPlan:
    """Give the import up.

    Raises:
        RefusedError, UsageError, EndpointError, NetworkError: as `plan_abort`; `no_such_session`
            for an import that has come to its end.
    """
    plan = plan_abort(target)
    stable_source.endpoints(target).import_abort(plan.session)
    return plan


def _is_open(session: ImportSession, stream: Stream) -> bool:
    """Whether a session stands in the way; one that is done and waits for the upgrade does not."""
    known = session.hashes_known * session.chunk_size
    return session.stream != stream.name or known < session.size


def _in_import_mode(info: EndpointsInfo, stream: Stream) -> bool:
    """A session that is told after its end is kept until the upgrade."""
    return info.import_session is not None and stream.kind is not StreamKind.APP


def _require_whole(copy: StableCopy, progress: TransferProgress) -> None:
    with Interrupts() as interrupts, interrupts.deferred(), closing(copy.open()) as data:
        problems = damage_of(
            data,
            copy.sidecar.hashes,
            progress=progress,
            should_stop=lambda: interrupts.caught is not None,
        )
    if problems:
        raise DamageError(
            f"{copy}{problems[0]}; nothing was written to the canister",
            hint="export the stream again",
        )


def _warnings(target: Target, stream: Stream, options: StableImportOptions) -> tuple[str, ...]:
    """What to know.

    Raises:
        RefusedError: the copy is another canister's.
    """
    told = about_copy(options.copy, target, other_canister=options.other_canister)
    told += _about_stream(options.copy, stream, target)
    if stream.kind is not StreamKind.APP:
        told.append(
            "The canister's heap may disagree with the imported memory: the app refuses calls"
            " until the module is installed again with an upgrade that skips pre_upgrade."
        )
    if options.skip_safety_snapshot:
        told.append("Nothing of the present state is kept.")
    return tuple(told)


def _about_stream(copy: StableCopy, stream: Stream, target: Target) -> list[str]:
    """What to know of a copy that goes into a stream of another name.

    Raises:
        RefusedError: that is of another kind: its bytes mean something else.
    """
    name, sidecar = copy.sidecar.identity.stream, copy.sidecar
    if sidecar.kind != stream.kind:
        raise RefusedError(
            f"{copy} is of {name}, of kind {sidecar.kind}, and {stream.name} of {target} is of kind"
            f" {stream.kind}",
            hint="leave --stream out, or name one of the same kind: `stable info` lists them",
        )
    if name == stream.name:
        return []
    return [f"It is a copy of another stream: of {name}, and not of {stream.name}."]


def _losses(
    target: Target, stream: Stream, replaces: CanisterSnapshot | None, *, safety: bool
) -> tuple[str, ...]:
    told = [f"{stream.name} of {target}: its {stream.size:,} bytes are overwritten."]
    if replaces is not None:
        told.append(
            f"Snapshot {replaces.snapshot_id} of {target}: the safety snapshot takes its place."
        )
    if safety:
        told.append(f"{target} is stopped for the safety snapshot, and started again.")
    return tuple(told)


def _again(
    run: Runtime, target: Target, plan: StableImportPlan, options: StableImportOptions
) -> str:
    other = ("--from-other-canister",) if options.other_canister else ()
    words = (*plan.copy.words, "--stream", plan.stream.name, *other)
    command = run.command("stable import", target, *words)
    return f"go on, with what has been written: `{command}`"
