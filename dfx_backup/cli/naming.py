"""What the user names: a network, and a canister on it; nothing is sent, no key is read."""

from dataclasses import dataclass

from dfx_backup.cli.session import Run
from dfx_backup.errors import RefusedError
from dfx_backup.ic.root_keys import network_id
from dfx_backup.model import CanisterRef, Network, NetworkId
from dfx_backup.project.address import read_root_key
from dfx_backup.project.canister_ids import resolve_canister
from dfx_backup.project.discover import Project, find_project
from dfx_backup.project.networks import DEFAULT_NAME, resolve_network

_ICP_ENVIRONMENT = "ICP_ENVIRONMENT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A canister that is only named.

    Attributes:
        ref: the canister.
        network: where it lives.
        network_id: that network's identity.
    """

    ref: CanisterRef
    network: Network
    network_id: NetworkId


def named_project(run: Run) -> Project | None:
    """The user's project, or None outside of one."""
    return find_project(run.surroundings.cwd, driver=run.shared.driver)


def named_network(run: Run, project: Project | None, *, restores: bool) -> Network:
    """The network that the options, the environment or the project name.

    Raises:
        RefusedError: a state is overwritten there, and only the environment names it.
        ProjectError: there is no such network.
    """
    pinned = run.shared.root_key
    return resolve_network(
        project,
        _network_name(run, project, restores=restores),
        places=run.places,
        root_key=None if pinned is None else read_root_key(pinned, "--root-key"),
    )


def named_canister(run: Run, name: str) -> Named | None:
    """The canister of that name or principal; None when only its network tells which one it is.

    Raises:
        ProjectError: there is no such canister.
    """
    project = named_project(run)
    network = named_network(run, project, restores=False)
    if network.root_key is None:
        return None
    ref = resolve_canister(project, network, name, places=run.places)
    return Named(ref=ref, network=network, network_id=network_id(network.root_key))


def _network_name(run: Run, project: Project | None, *, restores: bool) -> str | None:
    given = run.shared.network
    if given is not None:
        return given
    name = "DFX_NETWORK"
    if project and project.icp and run.surroundings.variable(_ICP_ENVIRONMENT):
        name = _ICP_ENVIRONMENT
    variable = run.surroundings.variable(name)
    if restores and variable not in (None, DEFAULT_NAME):
        raise RefusedError(
            f"{name} is `{variable}`, but it does not decide where a state is overwritten",
            hint=f"Add `--network {variable}` when that is what you mean.",
        )
    return variable
