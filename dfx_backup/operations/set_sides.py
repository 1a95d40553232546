"""Canisters that are restored together: none of them starts while they are half old, half new."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dfx_backup.errors import BackupError, CanisterDownError, RefusedError
from dfx_backup.model import SnapshotId
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.journal import Journal, OpenEntry, Side
from dfx_backup.operations.loading import Loader, await_late_load
from dfx_backup.operations.target import Runtime, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A canister of a set that is held stopped, and its journal entry."""

    target: Target
    book: OpenEntry


def to_one_side(run: Runtime, members: Sequence[Member], interrupts: Interrupts) -> None:
    """Make the set all old or all new: back where safety snapshots allow it, forward otherwise.

    Args:
        run: the surroundings.
        members: the canisters that are held; those that are not any more are on the right side.
        interrupts: asked between calls; one that never hears of signals finishes in any case.

    Raises:
        CanisterDownError: it could not be done; the canisters must stay stopped.
    """
    names = ", ".join(str(each.target) for each in members)
    try:
        for each in members:
            await_late_load(run, each.target, each.book, interrupts)
        for member, snapshot in _missing(members):
            run.progress.step(f"{member.target}: loading {snapshot}, so that the set is whole")
            Loader(run=run, target=member.target, book=member.book, interrupts=interrupts).load(
                snapshot
            )
    except BackupError as error:
        command = run.command("recover", members[0].target)
        raise CanisterDownError(
            f"the set of {names} is partly restored, so none of it was started: {error.message}",
            hint=f"run `{command}`: it makes all of them old or new, and starts them",
        ) from error


def _missing(members: Sequence[Member]) -> Iterator[tuple[Member, SnapshotId]]:
    """What is still to be loaded.

    Raises:
        RefusedError: it is not known what.
    """
    sides = {each.book.entry.side for each in members}
    if sides in ({Side.OLD}, {Side.NEW}):
        return
    touched = [each for each in members if each.book.entry.side is not Side.OLD]
    back = all(each.book.entry.snapshot_id is not None for each in touched)
    for each in touched if back else members:
        entry = each.book.entry
        if not back and entry.side is Side.NEW:
            continue
        snapshot = entry.snapshot_id if back else entry.restores
        if snapshot is None:
            raise RefusedError(f"no snapshot is known that {each.target} could be brought to")
        yield each, snapshot


def together(run: Runtime, targets: Sequence[Target]) -> tuple[tuple[Target, ...], ...]:
    """The canisters in groups: those of one interrupted restore of a set in one.

    Raises:
        DamageError, ProjectError: a journal entry can't be read.
    """
    groups: dict[tuple[str, ...], list[Target]] = {}
    for target in targets:
        entry = Journal(run.state).read(target.key)
        groups.setdefault((entry.set_keys if entry else ()) or (target.key,), []).append(target)
    return tuple(tuple(group) for group in groups.values())


def require_all(run: Runtime, group: Sequence[Target], keys: Sequence[str]) -> None:
    """Refuse a group that lacks canisters of its set which are not finished either.

    Raises:
        RefusedError: one is missing.
        DamageError, ProjectError: a journal entry can't be read.
    """
    here = {each.key for each in group}
    for key in keys:
        left = None if key in here else Journal(run.state).read(key)
        if left is not None:
            raise RefusedError(
                f"{group[0]} was being restored together with {left.canister}",
                hint="`recover --all` finishes all of them",
            )
