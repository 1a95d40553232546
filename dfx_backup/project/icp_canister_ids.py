"""Canister ids in a project of icp-cli: which canister a name means in an environment."""

from dfx_backup.errors import ProjectError
from dfx_backup.model import CanisterId, CanisterRef
from dfx_backup.project.document import printable
from dfx_backup.project.icp_places import environment_names, ids_file, meaning, read_ids
from dfx_backup.project.icp_workspace import canister_names
from dfx_backup.project.icp_yaml import LOCAL, IcpConfig, IcpEnvironment


def find(config: IcpConfig, network: str, name: str) -> CanisterId | None:
    """The id of a canister, or None when the environment has no such canister, or no id for it.

    Args:
        config: what icp.yaml says.
        network: the word that says which environment is meant.
        name: the canister's, `FOLDER:NAME` for one of a dependency.

    Raises:
        ProjectError: a file that was read for it is bad.
    """
    environment = _environment(config, network)
    if environment is None or name not in environment_names(config, environment):
        return None
    return read_ids(ids_file(config, environment)).get(name)


def listing(config: IcpConfig, network: str) -> tuple[tuple[CanisterRef, ...], tuple[str, ...]]:
    """The canisters of an environment, and names of those without an id, as icp.yaml orders them.

    Args:
        config: what icp.yaml says.
        network: the word that says which environment is meant.

    Raises:
        ProjectError: no environment is meant, or a file that was read for it is bad.
    """
    environment = _environment(config, network)
    if environment is None:
        raise _no_environment(config, network, "canisters by name")
    names = environment_names(config, environment)
    ids = read_ids(ids_file(config, environment))
    found = tuple(CanisterRef(canister_id=ids[name], name=name) for name in names if name in ids)
    return found, tuple(name for name in names if name not in ids)


def unknown(config: IcpConfig, network: str, name: str) -> ProjectError:
    """Why `find` found nothing.

    Args:
        config: what icp.yaml says.
        network: the word that says which environment is meant.
        name: the canister's.

    Raises:
        ProjectError: a file that was read for it is bad.
    """
    environment = _environment(config, network)
    if environment is None:
        return _no_environment(config, network, f"canister {name!r}")
    every = canister_names(config)
    if name not in every:
        known = ", ".join(printable(each) for each in every) or "none"
        return ProjectError(
            f"canister {name!r} is not in {config.file}",
            hint=f"Canisters there: {known}. A principal is understood too.",
        )
    if name not in environment_names(config, environment):
        return ProjectError(
            f"canister {name!r} does not belong to the environment {environment.name!r} of "
            f"{config.file}",
            hint="Name another environment with `--network`, or give the canister's principal.",
        )
    where = "" if environment.name == LOCAL else f" -e {printable(environment.name)}"
    return ProjectError(
        f"canister {name!r} has no id in the environment {environment.name!r}: "
        f"{ids_file(config, environment)} has none for it",
        hint=f"Create it with `icp canister create {printable(name)}{where}`.",
    )


def _environment(config: IcpConfig, network: str) -> IcpEnvironment | None:
    meant = meaning(config, network)
    return None if meant is None else meant.environment


def _no_environment(config: IcpConfig, network: str, what: str) -> ProjectError:
    known = ", ".join(sorted(printable(name) for name in config.environments))
    return ProjectError(
        f"{what} can't be looked up on network {network!r}: names have ids in environments only",
        hint=f"Give a principal, or an environment with `--network`: {known}.",
    )
