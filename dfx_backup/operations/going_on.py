"""What an earlier `create` left unfinished, and whether this one goes on with it."""

from collections.abc import Sequence
from dataclasses import dataclass

from dfx_backup.errors import RefusedError
from dfx_backup.model import CanisterId
from dfx_backup.operations.backup_create_plan import BackupOptions, Member
from dfx_backup.operations.backups import Backups
from dfx_backup.operations.target import Runtime, Target, target_key
from dfx_backup.operations.unfinished import Unfinished, UnfinishedBackups
from dfx_backup.repository.repository import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What there is to go on with.

    Attributes:
        records: one for each canister, in the order of the canisters; empty to begin anew.
        stored: canisters whose backup is in the repository already.
        remarks: what the user should know, full sentences.
    """

    records: tuple[Unfinished, ...] = ()
    stored: frozenset[CanisterId] = frozenset()
    remarks: tuple[str, ...] = ()


def find_left(
    run: Runtime, repository: Repository, members: Sequence[Member], options: BackupOptions
) -> Left:
    """Look for what an earlier run left.

    Backups of a set are gone on with together or not at all, since only then they are one moment.

    Raises:
        RefusedError: an earlier run was about other canisters, or what is asked for can't be had
            by going on.
        DamageError, ProjectError: a record can't be read.
        StoreError: the repository can't be read.
    """
    if options.new or options.snapshot is not None:
        return Left()
    targets = [each.target for each in members]
    state = UnfinishedBackups(run.state)
    known = {each.canister_id: state.read(each.key) for each in targets}
    found = [record for record in known.values() if record is not None]
    if not found:
        return Left()
    records = tuple(record for record in found if _is_whole(state, record))
    if not records:
        return Left(remarks=(_incomplete_set(found[0]),))
    asked = {each.canister_id for each in targets}
    other = next((each for each in records if set(each.members) != asked), None)
    if other is not None:
        raise _other_canisters(run, targets, other, options)
    stored = _stored(repository, records)
    if stored == asked:
        return Left()  # killed right after the last commit
    if options.leave_stopped:
        raise RefusedError(
            f"an earlier run took a snapshot of {records[0].canister} that is not in the"
            " repository yet, and the canister has run since",
            hint="--new takes another one, after which it stays stopped",
        )
    by_id = {each.canister.canister_id: each for each in records}
    ordered = tuple(by_id[each.canister_id] for each in targets)
    missing = [
        (target, each)
        for target, each in zip(targets, ordered, strict=True)
        if target.canister_id not in stored and not _exists(target, each)
    ]
    if missing:
        target, record = missing[0]
        told = f"Snapshot {record.snapshot_id} of {target}, which an earlier run took,"
        return Left(remarks=(f"{told} is gone from the network: a new one is taken.",))
    return Left(records=ordered, stored=stored)


def command(run: Runtime, targets: Sequence[Target], options: BackupOptions, *more: str) -> str:
    """The command line that backs these canisters up, or goes on with that."""
    others = [each.canister_id for each in targets[1:]]
    return run.command("create", targets[0], *others, *more, *options.again)


def _is_whole(state: UnfinishedBackups, record: Unfinished) -> bool:
    """Whether all canisters of its set were taken, and nobody has begun anew with one of them."""
    for member in record.members:
        other = state.read(target_key(record.network_id, member))
        if other is None or other.details.set_id != record.details.set_id:
            return False
    return True


def _stored(repository: Repository, records: Sequence[Unfinished]) -> frozenset[CanisterId]:
    ids = {each.backup_id for each in Backups.read(repository, manifests=False).all}
    return frozenset(each.canister.canister_id for each in records if each.details.backup_id in ids)


def _exists(target: Target, record: Unfinished) -> bool:
    lister = target.driver if target.direct is None else target.direct.calls
    listed = lister.list_snapshots(target.canister_id)
    return any(each.snapshot_id == record.snapshot_id for each in listed)


def _incomplete_set(record: Unfinished) -> str:
    return (
        f"An earlier run was interrupted before all of {len(record.members)} canisters were"
        " taken: new snapshots are taken."
    )


def _other_canisters(
    run: Runtime, targets: Sequence[Target], record: Unfinished, options: BackupOptions
) -> RefusedError:
    first = next(each for each in targets if each.canister_id == record.canister.canister_id)
    others = [each for each in record.members if each != record.canister.canister_id]
    on = run.command("create", first, *others, *options.again)
    anew = command(run, targets, options, "--new")
    with_ = f" together with {', '.join(others)}" if others else " alone"
    return RefusedError(
        f"an earlier run took a snapshot of {record.canister}{with_}, and it is not in the"
        " repository yet",
        hint=f"Go on with that: `{on}`. Or take new ones: `{anew}`.",
    )
