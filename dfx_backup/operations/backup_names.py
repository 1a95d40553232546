"""Backups by the names that people give them: an id's beginning, `CANISTER@latest`, `set:…`.

`latest` means backups of whole canisters, unless a command works on streams of their memory.
`CANISTER/STREAM@latest` always means a stream.
"""

from collections.abc import Sequence

from dfx_backup.errors import RefusedError, UsageError
from dfx_backup.operations.backups import Backup, Backups, owner
from dfx_backup.transfer.backup_details import KIND_SNAPSHOT, KIND_STABLE

_LATEST = "latest"
_SET = "set:"
_HINT = "`list` shows the backups."


def find_backup(
    backups: Backups, name: str, *, network: str | None = None, kind: str = KIND_SNAPSHOT
) -> Backup:
    """The one backup that a name means.

    Args:
        backups: what the repository holds.
        name: the beginning of an id, `CANISTER@latest`, `CANISTER/STREAM@latest`, or `latest` for
            a lone canister.
        network: counts only those from this network, when several have a canister of that name.
        kind: of which kind `latest` is, when no stream is named.

    Raises:
        UsageError: it means none, or several.
        RefusedError: `latest` where there are several canisters.
    """
    if name.startswith(_SET):
        raise UsageError(f"`{name}` names a set; this command takes one backup")
    canister, at, moment = name.rpartition("@")
    if name == _LATEST:
        found = _only_canister(_of_kind(_on(backups.all, network), kind), kind)
        return _one_stream(found)[-1]
    if at:
        if moment != _LATEST:
            raise UsageError(f"`{name}` can't be understood", hint="Write `CANISTER@latest`.")
        return _latest(backups, canister, network, kind)
    return _by_prefix(backups.all, name)


def find_backups(
    backups: Backups, names: Sequence[str], *, network: str | None = None
) -> tuple[Backup, ...]:
    """The backups that names mean, sets included, each once.

    Raises:
        UsageError: a name means none, or several.
        RefusedError: `latest` where there are several canisters.
    """
    found: dict[str, Backup] = {}
    for name in names:
        many = (
            find_set(backups, name)
            if name.startswith(_SET)
            else (find_backup(backups, name, network=network),)
        )
        found |= {each.backup_id: each for each in many}
    return tuple(found.values())


def find_set(backups: Backups, name: str) -> tuple[Backup, ...]:
    """The backups of one set, named `set:PREFIX`.

    Raises:
        UsageError: it means none, or several sets.
    """
    prefix = name.removeprefix(_SET).lower()
    sets = {each.set_id for each in backups.all if each.set_id}
    found = sorted(each for each in sets if each.startswith(prefix))
    if len(found) != 1 or not prefix:
        told = f"means {len(found)} sets" if found and prefix else "means no set of the repository"
        raise UsageError(f"`{name}` {told}", hint=_HINT)
    return tuple(each for each in backups.all if each.set_id == found[0])


def backups_of(
    backups: Backups, canister: str, *, network: str | None = None
) -> tuple[Backup, ...]:
    """The backups of one canister, oldest first.

    Args:
        backups: what the repository holds.
        canister: its principal, or its name in the project.
        network: counts only those from this network.

    Raises:
        UsageError: there is none of that name, or it is the name of several.
    """
    known = _on(backups.all, network)
    found = [each for each in known if canister in (each.canister_id, each.canister_name)]
    if not found:
        where = f" on {network}" if network else ""
        raise UsageError(f"there is no backup of canister `{canister}`{where}", hint=_HINT)
    owners = {owner(each): each for each in found}
    if len(owners) > 1:
        raise _several(canister, tuple(owners.values()))
    return tuple(found)


def _latest(backups: Backups, named: str, network: str | None, kind: str) -> Backup:
    canister, slash, stream = named.partition("/")
    found = backups_of(backups, canister, network=network)
    if slash:
        of_it = [each for each in found if each.stream == stream]
        if not of_it:
            raise UsageError(
                f"there is no backup of stream `{stream}` of canister `{canister}`", hint=_HINT
            )
        return of_it[-1]
    chosen = _of_kind(found, kind)
    if chosen:
        return _one_stream(chosen)[-1]
    if kind == KIND_STABLE:
        raise UsageError(
            f"there is no backup of a stream of canister `{canister}`",
            hint="`stable export` makes one.",
        )
    raise UsageError(
        f"there is no backup of the whole canister `{canister}`: only of its {found[-1].stream}",
        hint=f"Write `{canister}/{found[-1].stream}@latest` when that is what you mean.",
    )


def _of_kind(found: Sequence[Backup], kind: str) -> list[Backup]:
    return [each for each in found if each.kind == kind]


def _one_stream(found: Sequence[Backup]) -> Sequence[Backup]:
    """Backups of one canister, when they are of one stream or of all of it.

    Raises:
        UsageError: they are of several.
    """
    streams = sorted({each.stream for each in found if each.stream is not None})
    if len(streams) > 1:
        name = found[-1].canister_name or found[-1].canister_id
        raise UsageError(
            f"there are backups of several streams of `{name}`: {', '.join(streams)}",
            hint=f"Write `{name}/{streams[0]}@latest`.",
        )
    return found


def _several(canister: str, newest: Sequence[Backup]) -> UsageError:
    """Canisters of one name, each told by its newest backup."""
    places = {(each.canister_id, each.network_name) for each in newest}
    told = ", ".join(
        f"{each.canister_id} on {each.network_name} (newest backup {each.backup_id[:8]})"
        for each in newest
    )
    if len(places) < len(newest):  # only the root keys differ
        hint = "A local network that was reset is another one. Name the backup by its id."
    else:
        hint = "Name it by its principal, or add `--network`."
    return UsageError(f"`{canister}` is the name of several canisters: {told}", hint=hint)


def _only_canister(found: Sequence[Backup], kind: str) -> Sequence[Backup]:
    if not found:
        what, maker = "backup", "create"
        if kind == KIND_STABLE:
            what, maker = "backup of a stream", "stable export"
        raise UsageError(f"there is no {what} in the repository yet", hint=f"`{maker}` makes one.")
    if len({owner(each) for each in found}) > 1:
        raise RefusedError(
            "`latest` alone could mean another canister than you think: the repository holds"
            " several",
            hint="Write `CANISTER@latest`.",
        )
    return found


def _on(found: Sequence[Backup], network: str | None) -> list[Backup]:
    return [each for each in found if network in (None, each.network_name, each.network_id)]


def _by_prefix(found: Sequence[Backup], name: str) -> Backup:
    prefix = name.lower()
    many = [each for each in found if prefix and each.backup_id.startswith(prefix)]
    if len(many) > 1:
        told = ", ".join(each.backup_id[: len(prefix) + 4] for each in many[:5])
        raise UsageError(f"`{name}` is the beginning of {len(many)} ids: {told}", hint=_HINT)
    if not many:
        raise UsageError(f"no backup has an id that begins with `{name}`", hint=_HINT)
    return many[0]
