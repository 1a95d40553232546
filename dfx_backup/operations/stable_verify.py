"""Check an export: the file against its sidecar, and against the canister as it is now."""

from pathlib import Path

from dfx_backup.errors import EndpointError, RefusedError, UsageError
from dfx_backup.operations import stable_source, transfers
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.stable_copies import FileCopy
from dfx_backup.operations.stable_plans import (
    LiveComparison,
    StableProtocol,
    StableVerifyResult,
)
from dfx_backup.operations.target import Runtime, Target
from dfx_backup.transfer.stable_check import damaged_chunks
from dfx_backup.transfer.stable_hashes import certified_hashes
from dfx_backup.transfer.stable_sidecar import SNAPSHOT_PROTOCOL, Certified, Moment, Sidecar
from dfx_backup.transfer.terms import DEFAULT_WINDOW, TransferProgress

_NO_HASHES = (
    "only the kit's methods tell hashes: without them, export the memory to other files with --via"
    " snapshot, and compare the roots"
)


def verify(
    run: Runtime, file: Path, target: Target | None, progress: TransferProgress
) -> StableVerifyResult:
    """Hash the file; with a target, ask the canister for its hashes as well.

    Raises:
        ProjectError, DamageError: the files can't be read or understood.
        RefusedError: the target is not the canister of the export.
        UsageError: the methods of the export tell no hashes, so `target` can't be compared.
        InterruptedRunError: a signal has come.
        EndpointError, NetworkError: as the canister or the network tells it.
    """
    with Interrupts() as interrupts:
        copy = FileCopy.read(file)
        paths, sidecar = copy.paths, copy.sidecar
        with interrupts.deferred():
            problems = damaged_chunks(
                paths,
                sidecar,
                progress=progress,
                should_stop=lambda: interrupts.caught is not None,
            )
            live = None
            if target is not None:
                live = compare(run, interrupts, target, sidecar, progress)
    return StableVerifyResult(
        paths=paths,
        sidecar=sidecar,
        problems=problems,
        live=live,
        incomplete=(*_unproven(sidecar), *_differs(live)),
    )


def compare(
    run: Runtime,
    interrupts: Interrupts,
    target: Target,
    sidecar: Sidecar,
    progress: TransferProgress,
) -> LiveComparison:
    """Ask the canister for its hashes, which it pays for, and compare them.

    Raises:
        RefusedError: the target is not the canister of the export.
        UsageError: the methods of the export tell no hashes.
        InterruptedRunError: a signal has come.
        EndpointError, NetworkError: as the canister or the network tells it.
    """
    identity, known = sidecar.identity, sidecar.hashes
    if (identity.network_id, identity.canister_id) != (target.network_id, target.canister_id):
        raise RefusedError(f"the export is of {identity.canister_id} on another network")
    if identity.protocol not in (StableProtocol.BACKUP, SNAPSHOT_PROTOCOL):
        raise UsageError(f"methods of {identity.protocol} tell no hashes to compare with")
    progress.step("asking for certified hashes")
    try:
        found = certified_hashes(
            stable_source.endpoints(target),
            identity.stream,
            known.chunk_size,
            options=transfers.options(run, interrupts, DEFAULT_WINDOW),
            on_retry=progress.retry,
        ).table
    except EndpointError as error:
        if error.case == "missing":
            error.hint = _NO_HASHES
        raise
    count = max(known.count, found.count)
    differing = sum(1 for index in range(count) if known.get(index) != found.get(index))
    return LiveComparison(
        canister=target.ref,
        network=target.network,
        same=not differing and known.size == found.size,
        size=found.size,
        differing=differing,
    )


def _unproven(sidecar: Sidecar) -> tuple[str, ...]:
    told = []
    if sidecar.certified is Certified.UNCERTIFIED:
        told.append("The network has not certified what was read.")
    if sidecar.moment is Moment.UNPROVEN:
        told.append("Nothing proves that all of it is of one moment.")
    return tuple(told)


def _differs(live: LiveComparison | None) -> tuple[str, ...]:
    if live is None or live.same:
        return ()
    chunks = f"{live.differing} chunk{'' if live.differing == 1 else 's'}"
    return (f"The canister holds something else now: {chunks} and {live.size:,} bytes in all.",)
