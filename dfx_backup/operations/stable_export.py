"""Copy a stream of a canister's memory to a place, through the canister's own methods."""

from dfx_backup.errors import RefusedError
from dfx_backup.ic.stable_endpoints import EndpointsInfo, StableEndpoints, Stream, StreamKind
from dfx_backup.operations import stable_costs as costs
from dfx_backup.operations import stable_source, transfers
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.stable_places import Origin
from dfx_backup.operations.stable_plans import (
    StableExportOptions,
    StableExportPlan,
    StableExportResult,
    StableProtocol,
)
from dfx_backup.operations.target import Runtime, Target
from dfx_backup.transfer.stable_export import export_into
from dfx_backup.transfer.stable_sidecar import Certified, Moment, StreamIdentity
from dfx_backup.transfer.stable_terms import ExportChoices, Reads
from dfx_backup.transfer.terms import TransferProgress

_UNPROVEN = (
    "These methods tell nothing that would prove one moment: what was written while the stream"
    " was read can be in the copy in part. The sidecar says `unproven`."
)

_UNCERTIFIED = (
    "Where the stream ends is what an empty answer says, and such methods may hide an error behind"
    " one: compare the size with what you expect. The sidecar says `uncertified`."
)


def plan_export(target: Target, options: StableExportOptions) -> StableExportPlan:
    """Say how a stream will be read, and what that costs. Nothing is staged.

    Raises:
        UsageError: the stream has to be named, or the identity's key can't be read.
        RefusedError: there is something else, or an import is in progress.
        EndpointError: the canister has no such methods or no such stream, or we may not call.
        NetworkError: as the network tells it.
    """
    reader = stable_source.reader(target, options.methods)
    return _plan(target, options, reader.info())


def export(
    run: Runtime, target: Target, options: StableExportOptions, progress: TransferProgress
) -> StableExportResult:
    """Stage what has to be, read, and complete the files once the copy is proven.

    Raises:
        MovingError: the stream changed all the time.
        InterruptedRunError: a signal has come; the same command goes on.
        UsageError, RefusedError, EndpointError, NetworkError: as `plan_export`, or from a step.
    """
    with Interrupts() as interrupts:
        reader = stable_source.reader(target, options.methods)
        plan = _plan(target, options, reader.info())
        if plan.stages and isinstance(reader, StableEndpoints):
            progress.step(f"letting the app make {plan.stream.name}")
            plan = _plan(target, options, reader.stage(plan.stream.name))
        origin = Origin(
            canister=target.ref,
            network=target.network,
            what=_identity(target, plan.stream, plan.protocol),
            driver=plan.driver,
            cycles=plan.cycles,
            tool=options.tool,
        )
        with (
            interrupts.deferred(),
            transfers.goes_on(_again(run, target, plan, options)),
            plan.place.begin(origin, progress) as work,
        ):
            report = export_into(
                work,
                reader,
                origin.what,
                _choices(run, plan, options),
                options=transfers.options(run, interrupts, options.window),
                progress=progress,
            )
    sidecar = report.sidecar
    incomplete = (_UNPROVEN,) if sidecar.moment is Moment.UNPROVEN else ()
    warnings = (_UNCERTIFIED,) if sidecar.certified is Certified.UNCERTIFIED else ()
    return StableExportResult(
        plan=plan,
        report=report,
        stored=plan.place.stored,
        incomplete=incomplete,
        warnings=warnings,
    )


def require_no_import(target: Target, info: EndpointsInfo) -> None:
    """Refuse while an import is in progress: what is read would be half of it.

    Raises:
        RefusedError: one is.
    """
    found = info.import_session
    if found is not None:
        raise RefusedError(
            f"an import of {found.stream} is in progress on {target}, or it was not upgraded since",
            hint="end the import (`stable import`, the same again or with --abort), and install"
            " the module again",
        )


def _plan(target: Target, options: StableExportOptions, info: EndpointsInfo) -> StableExportPlan:
    protocol = options.methods.protocol
    require_no_import(target, info)
    stream = stable_source.choose_stream(info, options.stream)
    found = options.place.look(_identity(target, stream, protocol))
    cheap = protocol is StableProtocol.BACKUP and costs.hashes_cheap(info.kit)
    reads, reason = _choose(options, cheap=cheap, delta=found.delta, resumes=found.resumes)
    if reads is Reads.CERTIFIED:
        price = costs.reads(stream.size, options.window)
    else:
        price = costs.hashes(stream.size, info.kit)
    return StableExportPlan(
        canister=target.ref,
        network=target.network,
        network_id=target.network_id,
        driver=target.driver.describe(),
        protocol=protocol,
        info=info,
        stream=stream,
        place=options.place,
        stages=stream.kind is StreamKind.APP and protocol is StableProtocol.BACKUP,
        reads=reads,
        reason=reason,
        rounds_by_hashes=cheap,
        delta=found.delta and reads is Reads.HASHES,
        resumes=found.resumes,
        calls=price.calls,
        window=options.window,
        seconds=price.seconds,
        cycles=price.cycles,
    )


def _choose(
    options: StableExportOptions, *, cheap: bool, delta: bool, resumes: bool
) -> tuple[Reads, str]:
    """How a stream is read, and why."""
    if options.methods.protocol is not StableProtocol.BACKUP:
        return Reads.CERTIFIED, "these methods tell no hashes"
    if options.reads is not None:
        return options.reads, "as was asked for"
    if not cheap:
        return Reads.CERTIFIED, "this kit hashes slowly: hashes would cost more than the bytes"
    if resumes:
        return Reads.HASHES, "an interrupted export is checked by hashes, and gone on with"
    if delta:
        return Reads.HASHES, "there is an earlier export: only what changed travels"
    return Reads.CERTIFIED, "a first export: hashes would cost more than the bytes"


def _identity(target: Target, stream: Stream, protocol: StableProtocol) -> StreamIdentity:
    return StreamIdentity(
        network_id=target.network_id,
        canister_id=target.canister_id,
        stream=stream.name,
        protocol=protocol.value,
    )


def _again(
    run: Runtime, target: Target, plan: StableExportPlan, options: StableExportOptions
) -> str:
    words = ["--stream", plan.stream.name, *plan.place.words]
    if plan.protocol is not StableProtocol.BACKUP:
        words += ["--protocol", plan.protocol.value]
    if options.methods.method is not None:
        words += ["--method", options.methods.method]
    command = run.command("stable export", target, *words)
    return f"{plan.place.again}: `{command}`"


def _choices(run: Runtime, plan: StableExportPlan, options: StableExportOptions) -> ExportChoices:
    return ExportChoices(
        reads=plan.reads,
        rounds_by_hashes=plan.rounds_by_hashes,
        accept_unproven=plan.protocol is not StableProtocol.BACKUP,
        tool=options.tool,
        created_at=run.clock.now(),
    )
