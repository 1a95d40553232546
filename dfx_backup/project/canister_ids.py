"""Canister ids: which canister a name means on a network, by the rules of the project's tool."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dfx_backup.errors import ProjectError
from dfx_backup.ic.principal import ANONYMOUS, MANAGEMENT, Principal, PrincipalError
from dfx_backup.model import CanisterId, CanisterRef, Network, Places
from dfx_backup.project import icp_canister_ids
from dfx_backup.project.dfx_json import DfxConfig, in_dependency_order
from dfx_backup.project.discover import Project
from dfx_backup.project.document import printable, read_bytes, read_json
from dfx_backup.project.networks import DEFAULT_NAME, NetworkDefinition, Origin, define_network

_ANY_NETWORK: Final = "__default"
_IDS_FILE: Final = "canister_ids.json"
_NETWORK_ID_FILE: Final = "network-id"
_USER_BYTES: Final = 29
_USER_TAG: Final = 2
_PRINCIPAL_LIKE = re.compile(r"[a-z0-9]{5}(-[a-z0-9]{1,5}){2,}", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class CanisterListing:
    """The canisters of a project on one network.

    Attributes:
        found: those that the project deploys there, by name in dfx.json.
        without_id: names that have no id there.
        elsewhere: names that somebody else deploys there: remote and pulled canisters.
    """

    found: tuple[CanisterRef, ...]
    without_id: tuple[str, ...]
    elsewhere: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _IdsFile:
    """The ids of one network.

    Attributes:
        file: where they are.
        ids: by name.
        unreadable: where an entry stands whose id is no principal, by name.
        stale: why they belong to a network that is gone, or None.
    """

    file: Path
    ids: dict[str, CanisterId]
    unreadable: dict[str, str]
    stale: str | None


def resolve_canister(
    project: Project | None, network: Network, name_or_principal: str, *, places: Places
) -> CanisterRef:
    """Find the canister that the user means: a principal, or a name in the project.

    In a project of dfx a name's id comes from `remote.id` in dfx.json, else from canister_ids.json
    (of the project for a persistent network, of `.dfx/NETWORK/` for others), else from a pulled
    canister's `id`. In one of icp-cli it comes from the environment's file below `.icp`.

    Args:
        project: the user's project, or None.
        network: the network, as `resolve_network` returned it.
        name_or_principal: what the user typed.
        places: the user's directories.

    Raises:
        ProjectError: there is no such canister on that network, the ids at hand belong to a local
            network that is gone, or a file that was read for it is bad.
    """
    try:
        principal = Principal.from_text(name_or_principal)
    except PrincipalError as error:
        not_a_principal = error
    else:
        return CanisterRef(canister_id=_canister(principal))
    name = name_or_principal
    if project is not None and project.icp is not None:
        found_id = icp_canister_ids.find(project.icp, network.name, name)
        if found_id is None and _PRINCIPAL_LIKE.fullmatch(name):
            raise ProjectError(not_a_principal.message, hint=not_a_principal.hint)
        if found_id is None:
            raise icp_canister_ids.unknown(project.icp, network.name, name)
        return CanisterRef(canister_id=found_id, name=name)
    if project is None or project.dfx is None:
        raise _no_names(name, places)
    definition = define_network(project, network.name, places=places)
    ids = _read_ids(project, definition)
    found = _lookup(project.dfx, definition, ids, name)
    if found is None:
        raise _not_found(project.dfx, definition, ids, name, not_a_principal)
    return CanisterRef(canister_id=found, name=name)


def all_canisters(
    project: Project | None,
    network: Network,
    *,
    places: Places,
    dependency_order: bool = False,
) -> tuple[CanisterRef, ...]:
    """The canisters that the project deploys on a network; see `list_canisters`."""
    listing = list_canisters(project, network, places=places, dependency_order=dependency_order)
    return listing.found


def list_canisters(
    project: Project | None,
    network: Network,
    *,
    places: Places,
    dependency_order: bool = False,
) -> CanisterListing:
    """List the canisters of a project on a network. Like dfx, remote ones are told apart.

    Args:
        project: the user's project.
        network: the network, as `resolve_network` returned it.
        places: the user's directories.
        dependency_order: each canister after those that it depends on; otherwise by name. icp.yaml
            has an order, but knows no such dependencies.

    Raises:
        ProjectError: there is no project, the ids belong to a local network that is gone, or a
            file is bad.
    """
    if project is not None and project.icp is not None:
        found_refs, missing = icp_canister_ids.listing(project.icp, network.name)
        return CanisterListing(found=found_refs, without_id=missing, elsewhere=())
    if project is None or project.dfx is None:
        raise _no_names(None, places)
    config = project.dfx
    definition = define_network(project, network.name, places=places)
    ids = _read_ids(project, definition)
    names = in_dependency_order(config) if dependency_order else tuple(sorted(config.canisters))
    found, without_id, elsewhere = [], [], []
    for name in names:
        if _remote_id(config, definition, name) or config.canisters[name].pull_id:
            elsewhere.append(name)
        elif (own := ids.ids.get(name)) is not None and ids.stale is None:
            found.append(CanisterRef(canister_id=own, name=name))
        else:
            without_id.append(name)
    stale = [name for name in without_id if name in ids.ids]
    if stale:
        raise _stale(definition, ids, stale[0])
    return CanisterListing(
        found=tuple(found), without_id=tuple(without_id), elsewhere=tuple(elsewhere)
    )


def _canister(principal: Principal) -> CanisterId:
    text = principal.to_text()
    if principal == MANAGEMENT:
        raise ProjectError(f"{text} is the management canister, which has no state to back up")
    if principal == ANONYMOUS or (
        len(principal.raw) == _USER_BYTES and principal.raw[-1] == _USER_TAG
    ):
        raise ProjectError(
            f"{text} is the principal of a user, not of a canister",
            hint="Give a canister's name in the project, or its principal.",
        )
    return CanisterId(text)


def _lookup(
    config: DfxConfig, definition: NetworkDefinition, ids: _IdsFile, name: str
) -> CanisterId | None:
    remote = _remote_id(config, definition, name)
    if remote is not None:
        return remote
    if name in ids.ids and ids.stale is None:
        return ids.ids[name]
    canister = config.canisters.get(name)
    return None if canister is None else canister.pull_id


def _remote_id(config: DfxConfig, definition: NetworkDefinition, name: str) -> CanisterId | None:
    canister = config.canisters.get(name)
    if canister is None:
        return None
    remote = canister.remote_ids
    return remote.get(definition.dfx_name) or remote.get(_ANY_NETWORK)


def _read_ids(project: Project, definition: NetworkDefinition) -> _IdsFile:
    folder = project.root / ".dfx" / definition.dfx_name
    file = (project.root if definition.persistent else folder) / _IDS_FILE
    stale = None if definition.persistent else _why_stale(folder, definition)
    top = read_json(file)
    ids: dict[str, CanisterId] = {}
    unreadable: dict[str, str] = {}
    for name, networks in [] if top is None else top.items():
        by_network = dict(networks.items())
        entry = by_network.get(definition.dfx_name) or by_network.get(_ANY_NETWORK)
        if entry is None:
            continue
        try:
            ids[name] = CanisterId(Principal.from_text(entry.text()).to_text())
        except PrincipalError:
            unreadable[name] = entry.label  # like dfx, which passes over it
    return _IdsFile(file=file, ids=ids, unreadable=unreadable, stale=stale)


def _why_stale(folder: Path, definition: NetworkDefinition) -> str | None:
    """Whether dfx would throw the ids away: its rule of cohesion, without the throwing away.

    A shared local network gets a new `network-id` when it is started clean, and a project keeps a
    copy of the one that its ids belong to. A local network of the project has no such copy: where
    there is one, the ids are those of a shared network.
    """
    if definition.data_folder is None:
        return None
    copy = read_bytes(folder / _NETWORK_ID_FILE)
    if definition.origin is Origin.PROJECT:
        return None if copy is None else "they are those of the shared local network"
    current = read_bytes(definition.data_folder / _NETWORK_ID_FILE)
    if current is None or current == copy:
        return None
    return "the network has been started clean since they were written"


def _no_names(name: str | None, places: Places) -> ProjectError:
    what = "canisters by name" if name is None else f"canister {name!r}"
    return ProjectError(
        f"{what} can't be looked up: there is no dfx.json or icp.yaml at or above {places.cwd}",
        hint="Give the canister's principal.",
    )


def _create(name: str, definition: NetworkDefinition) -> str:
    """The command that gives a canister an id; dfx leaves the network out when it is `local`."""
    network = "" if definition.name == DEFAULT_NAME else f" --network {printable(definition.name)}"
    return f"dfx canister create {printable(name)}{network}"


def _stale(definition: NetworkDefinition, ids: _IdsFile, name: str) -> ProjectError:
    return ProjectError(
        f"canister {name!r} has no id on network {definition.name!r}: the ids in {ids.file} are "
        f"not valid any more, {ids.stale}",
        hint=f"Deploy again, beginning with `{_create(name, definition)}`; dfx replaces the file.",
    )


def _not_found(
    config: DfxConfig,
    definition: NetworkDefinition,
    ids: _IdsFile,
    name: str,
    not_a_principal: PrincipalError,
) -> ProjectError:
    if name in ids.ids:
        return _stale(definition, ids, name)
    if name in ids.unreadable:
        return ProjectError(f"{ids.unreadable[name]} is not a principal")
    if name not in config.canisters and _PRINCIPAL_LIKE.fullmatch(name):
        return ProjectError(not_a_principal.message, hint=not_a_principal.hint)
    if definition.origin is Origin.URL:
        return ProjectError(
            f"canister {name!r} has no id on network {definition.name!r}: names have ids on named "
            "networks only",
            hint="Give the canister's principal, or the network's name.",
        )
    if name not in config.canisters:
        known = ", ".join(printable(key) for key in config.canisters) or "none"
        return ProjectError(
            f"canister {name!r} is not in {config.file}, and has no id on network "
            f"{definition.name!r}",
            hint=f"Canisters in dfx.json: {known}. A principal is understood too.",
        )
    return ProjectError(
        f"canister {name!r} has no id on network {definition.name!r}: {ids.file} has none for it",
        hint=f"Create it with `{_create(name, definition)}`, or name the network where it is.",
    )
