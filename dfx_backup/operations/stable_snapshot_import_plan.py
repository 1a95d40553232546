"""What an import through a snapshot would do, decided and checked before anything is done."""

from dataclasses import dataclass

from dfx_backup.errors import RefusedError, UsageError
from dfx_backup.ic.stable_endpoints import StreamKind
from dfx_backup.model import CanisterSnapshot, CanisterStatus, SnapshotId
from dfx_backup.operations import (
    cycles,
    load_planning,
    preflight,
    stable_base,
    stable_held,
    stable_rebuild,
    stable_source,
)
from dfx_backup.operations.durations import (
    Span,
    download_time,
    load_outage,
    slices,
    take_outage,
    upload_time,
)
from dfx_backup.operations.load_planning import Added, LoadSource
from dfx_backup.operations.plans import CreatePlan, LoadOptions, LoadPlan
from dfx_backup.operations.recover import refuse_pending
from dfx_backup.operations.stable_copies import StableCopy, about_copy
from dfx_backup.operations.stable_held import InUse, SnapshotRecord
from dfx_backup.operations.stable_snapshot_plans import SnapshotImportOptions, SnapshotImportPlan
from dfx_backup.operations.target import Runtime, Target
from dfx_backup.transfer.slices import whole_pages
from dfx_backup.transfer.upload_state import remembered

_BLOCK = 512
_TIMER = "global timer comes back"
_NO_TIMER = "An upgrade clears the global timer: post_upgrade has to set it again."
_DISAGREES = (
    "The heap of {target} stays as it is in the base snapshot, and may disagree with the imported"
    " memory: an app with caches or state in its heap can go wrong. --heap-from-stable rebuilds it,"
    " where post_upgrade can."
)
_IN_IMPORT_MODE = (
    "{target} is in import mode, and stays in it: an import through its own methods was begun, and"
    " its heap remembers that."
)
_GOES_ON = (
    "The base snapshot of {target} was taken by an earlier run, at {moment}: its heap goes back to"
    " that moment. --new takes another one."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Amounts:
    """Bytes; None where the network does not tell.

    Attributes:
        fetch: of the base, at most.
        new: that the new snapshot is charged for, at most.
        send: what is uploaded, at most.
    """

    fetch: int | None
    new: int | None
    send: int | None

    @property
    def upload_cost(self) -> int | None:
        """Cycles for the upload."""
        if self.new is None or self.send is None:
            return None
        return cycles.upload_cost(self.new, sent=self.send, calls=slices(self.send))

    @property
    def fetch_cost(self) -> int:
        """Cycles for reading the base."""
        return 0 if self.fetch is None else cycles.download_cost(self.fetch, slices(self.fetch))

    def seconds(self, window: int) -> Span | None:
        """How long it takes to move them."""
        if self.fetch is None or self.send is None:
            return None
        down = download_time(slices(self.fetch), window)
        up = upload_time(self.send, slices(self.send), window)
        return Span(low=down.low + up.low, high=down.high + up.high)


def record_of(run: Runtime, target: Target, options: SnapshotImportOptions) -> SnapshotRecord:
    """What is remembered of importing this very copy."""
    copy = options.copy
    named = copy.backup_id or str(copy.file and copy.file.absolute())
    content = copy.sidecar.hashes.root()
    return SnapshotRecord(run, target, stable_held.BASE, named, content=content)


def plan_one(run: Runtime, target: Target, options: SnapshotImportOptions) -> SnapshotImportPlan:
    """See `stable_snapshot_import.plan_import`."""
    calls = stable_held.require_direct(target).calls
    told = _require_sense(target, options)
    refuse_pending(run, target)
    record = record_of(run, target, options)
    found = preflight.survey(target)
    status = calls.full_status(target.canister_id).status
    used = None if options.new else stable_base.usable(target, record, found.status.module_hash)
    take = None
    if used is None:
        take = stable_held.plan_take(run, target, found, allow_stopped=options.allow_stopped)
    begun = None if used is None else remembered(record.upload)
    resumes = begun if begun in found.ids else None
    amounts = _amounts(status, options.copy)
    load = _plan_load(run, target, options, found, amounts, resumes)
    kept = (each for each in load.warnings if options.module is None or _TIMER not in each)
    warnings = (*told, *_warnings(target, options, take, used), *kept)
    mine = None if used is None else used.snapshot_id
    left = (
        *stable_held.left_over(run, target, found, mine, begun),
        *stable_held.left_folders(run, target, record),
    )
    return SnapshotImportPlan(
        canister=target.ref,
        network=target.network,
        network_id=target.network_id,
        driver=target.driver.describe(),
        copy=options.copy,
        size=options.copy.sidecar.hashes.size,
        size_now=status.stable_bytes,
        take=take,
        base=None if used is None else used.taken_at_ns,
        resumes=resumes,
        fetch_bytes=0 if used is not None and used.copied else amounts.fetch,
        send_bytes=amounts.send,
        load=load,
        rebuilds=options.module is not None,
        module=None if options.module is None else options.module.path,
        outage=_outage(status, amounts, take, load),
        seconds=amounts.seconds(options.window),
        cycles=_cost(take, load, amounts),
        window=options.window,
        will_be_lost=_losses(target, options, status, load),
        warnings=tuple(dict.fromkeys((*warnings, *left))),
    )


def _require_sense(target: Target, options: SnapshotImportOptions) -> tuple[str, ...]:
    """Refuse a copy that is no stable memory, and a rebuild that can't be undone."""
    copy = options.copy
    if copy.sidecar.kind != StreamKind.STABLE_MEMORY:
        raise RefusedError(
            f"{copy} is stream {copy.sidecar.identity.stream}, and a snapshot takes a whole stable"
            " memory",
            hint="import it through the canister's own methods: --via endpoints",
        )
    told = tuple(about_copy(copy, target, other_canister=options.other_canister))
    if options.module is None:
        begun = stable_source.import_in_progress(target)
        return told if begun is None else (*told, _IN_IMPORT_MODE.format(target=target))
    if options.skip_safety_snapshot:
        raise UsageError(
            "--heap-from-stable needs the safety snapshot: a post_upgrade that traps is undone with"
            " it",
            hint="leave out --skip-safety-snapshot",
        )
    return (*told, *stable_rebuild.check_module(target, options.module))


def _amounts(status: CanisterStatus, copy: StableCopy) -> _Amounts:
    size = whole_pages(copy.sidecar.hashes.size)
    base = cycles.snapshot_bytes(status)
    if status.heap_bytes is not None:
        base = status.heap_bytes + (status.module_bytes or 0)
    if base is None:
        return _Amounts(fetch=None, new=None, send=None)
    return _Amounts(fetch=base, new=base + size, send=base + min(size, _stored(copy, size)))


def _stored(copy: StableCopy, size: int) -> int:
    """Bytes that the copy's file takes on the disk: about what of it is not zero."""
    try:
        return size if copy.file is None else copy.file.stat().st_blocks * _BLOCK
    except OSError:
        return size


def _plan_load(
    run: Runtime,
    target: Target,
    options: SnapshotImportOptions,
    found: preflight.Survey,
    amounts: _Amounts,
    resumes: SnapshotId | None,
) -> LoadPlan:
    begun = resumes is not None
    source = LoadSource(
        snapshot=CanisterSnapshot(snapshot_id=resumes or SnapshotId(""), size_bytes=amounts.new),
        foreign=False,
        uploaded=True,
        about="the base snapshot",
        added=Added(
            slots=0 if begun else 1,
            size=0 if begun else amounts.new or 0,
            cost=0 if begun else amounts.upload_cost or 0,
        ),
    )
    how = LoadOptions(
        snapshot=SnapshotId(""),
        skip_safety_snapshot=options.skip_safety_snapshot,
        replace=options.replace,
        allow_stopped=options.allow_stopped,
    )
    return load_planning.plan(run, target, how, found, source)


def _outage(
    status: CanisterStatus, amounts: _Amounts, take: CreatePlan | None, load: LoadPlan
) -> Span | None:
    """Both times together; an upgrade comes on top, and nobody knows how long that takes."""
    if not load.stops:
        return None
    present = cycles.snapshot_bytes(status) or 0
    last = load_outage(max(present, amounts.new or 0))
    if take is None:
        return last
    first = take_outage(present)
    return Span(low=first.low + last.low, high=first.high + last.high)


def _cost(take: CreatePlan | None, load: LoadPlan, amounts: _Amounts) -> int | None:
    if load.cycles.cost is None or (take is not None and take.cycles.cost is None):
        return None
    taking = 0 if take is None else (take.cycles.cost or 0)
    return taking + load.cycles.cost + amounts.fetch_cost


def _losses(
    target: Target, options: SnapshotImportOptions, status: CanisterStatus, load: LoadPlan
) -> tuple[str, ...]:
    now = "" if status.stable_bytes is None else f", {status.stable_bytes:,} bytes"
    told = [f"The stable memory of {target}{now}: {options.copy} takes its place."]
    if options.module is None:
        told.append(
            f"What {target} writes to its heap after the base snapshot is taken: the upload comes"
            " in between."
        )
    else:
        told.append(f"The heap of {target}: post_upgrade makes a new one of the imported memory.")
    return (*told, *load.will_be_lost[1:])


def _warnings(
    target: Target,
    options: SnapshotImportOptions,
    take: CreatePlan | None,
    used: InUse | None,
) -> tuple[str, ...]:
    told = []
    if options.module is None:
        told.append(_DISAGREES.format(target=target))
    else:
        told.append(_NO_TIMER)
    if used is not None:
        told.append(_GOES_ON.format(target=target, moment=used.moment))
    if take is not None:
        told += take.warnings
        if take.stops:
            told.append(f"{target} is stopped twice: for the base snapshot, and for the load.")
    return tuple(told)
