"""Where the networks of an icp.yaml answer, and which of their canister ids are whose.

The word after `--network` is an environment's name or else a network's. An environment is a network
with canister ids of its own, so that only environments give names of canisters a meaning.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dfx_backup.errors import ProjectError
from dfx_backup.ic.principal import Principal, PrincipalError
from dfx_backup.model import CanisterId, Places
from dfx_backup.project.address import read_root_key, read_url
from dfx_backup.project.document import folder_name, printable, read_json
from dfx_backup.project.icp_workspace import canister_names
from dfx_backup.project.icp_yaml import (
    LOCAL,
    MAINNET,
    IcpConfig,
    IcpEnvironment,
    IcpNetwork,
)

_MAX_PORT: Final = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class IcpMeaning:
    """What a word after `--network` means in a project of icp-cli.

    Attributes:
        network: the network.
        environment: the environment, whose canister ids count; None when the word is the name of a
            network that no environment, or more than one, is on.
    """

    network: IcpNetwork
    environment: IcpEnvironment | None

    @property
    def where(self) -> str:
        """Names the place of the definition, for messages."""
        return (self.environment.where if self.environment else "") or self.network.where

    @property
    def written(self) -> bool:
        """It stands in a file: `local` means something without, but only when it is started."""
        return bool(self.environment and self.environment.where) or not self.network.implicit


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A network of this machine that icp-cli has started.

    Attributes:
        url: where it answers, without a trailing slash.
        root_key: DER of its root key.
        file: the file that tells so.
    """

    url: str
    root_key: bytes
    file: Path


def meaning(config: IcpConfig, name: str | None) -> IcpMeaning | None:
    """What the word means, or None when neither an environment nor a network has that name.

    Args:
        config: what icp.yaml says.
        name: the word, or None for the environment `local`.

    Raises:
        ProjectError: an environment `ic` is on another network than `ic`.
    """
    word = LOCAL if name is None else name
    environment = config.environments.get(word)
    if environment is not None:
        if word == MAINNET and environment.network != MAINNET:
            raise ProjectError(
                f"{environment.where}: the environment 'ic' is on the network "
                f"{environment.network!r}, and not on mainnet",
                hint="Give the environment another name.",
            )
        return IcpMeaning(network=config.networks[environment.network], environment=environment)
    network = config.networks.get(word)
    if network is None:
        return None
    on_it = [each for each in config.environments.values() if each.network == word]
    return IcpMeaning(network=network, environment=on_it[0] if len(on_it) == 1 else None)


def running(config: IcpConfig, network: IcpNetwork, places: Places) -> Running:
    """Where a managed network answers, from the descriptor that `icp network start` writes.

    Whether it still runs is not looked at.

    Raises:
        ProjectError: it was not started, another network has its port, or the file is bad.
    """
    name = folder_name(network.name, "a network")
    file = config.file.parent / ".icp" / "cache" / "networks" / name / "descriptor.json"
    start = "icp network start" + ("" if name == LOCAL else f" {printable(name)}")
    top = read_json(file)
    if top is None:
        raise ProjectError(
            f"network {network.name!r} of {config.file} is not running: there is no {file}",
            hint=f"Start it with `{start}`.",
        )
    if top.at("v").text() != "1":
        raise top.at("v").error("must be 1: another version of this file is not known")
    gateway, key = top.at("gateway"), top.at("root-key")
    port = gateway.at("port").number()
    if not 0 < port <= _MAX_PORT:
        raise gateway.at("port").error("is no port")
    if gateway.at("fixed").value is True and places.icp_ports is not None:
        _check_port(Path(places.icp_ports) / f"{port}.json", top.at("id").text(), start)
    host = gateway.at("host").optional_text() or "localhost"
    return Running(
        url=read_url(f"http://{host}:{port}", gateway.label),
        root_key=read_root_key(key.text(), key.label),
        file=file,
    )


def environment_names(config: IcpConfig, environment: IcpEnvironment) -> tuple[str, ...]:
    """Names of the canisters that belong to an environment, in the order of icp.yaml.

    Raises:
        ProjectError: it names one that the project does not have, or a manifest is bad.
    """
    names = canister_names(config)
    if environment.canisters is None:
        return names
    for name in environment.canisters:
        if name not in names:
            raise ProjectError(
                f"{environment.where} names the canister {name!r}, which the project does not have"
            )
    return environment.canisters


def ids_file(config: IcpConfig, environment: IcpEnvironment) -> Path:
    """The file with the canister ids of an environment.

    Raises:
        ProjectError: the environment's name can't be that of a file.
    """
    name = folder_name(environment.name, "an environment")
    kind = "cache" if config.networks[environment.network].managed else "data"
    return config.file.parent / ".icp" / kind / "mappings" / f"{name}.ids.json"


def read_ids(file: Path) -> dict[str, CanisterId]:
    """Canister ids by name; a missing file has none.

    Raises:
        ProjectError: it is bad.
    """
    top = read_json(file)
    ids = {}
    for name, node in [] if top is None else top.items():
        try:
            ids[name] = CanisterId(Principal.from_text(node.text()).to_text())
        except PrincipalError as error:
            raise node.error(f"must be a principal: {error.message}", hint=error.hint) from None
    return ids


def _check_port(file: Path, network_id: str, start: str) -> None:
    """On a fixed port only one network can run, and another project's may have taken its place."""
    top = read_json(file)
    if top is None:
        raise ProjectError(
            f"the network does not run: {file} is gone", hint=f"Start it with `{start}`."
        )
    if top.at("id").text() != network_id:
        where = top.at("project-dir").optional_text() or "another project"
        raise ProjectError(
            f"another network has taken the port: that of {printable(where)}, says {file}",
            hint=f"Stop it there with `icp network stop`, and start this one with `{start}`.",
        )
