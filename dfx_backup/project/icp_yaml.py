"""icp.yaml: networks, environments and canisters of a project of icp-cli.

Read as icp-cli 1.5 does: what it refuses is refused with the key and the reason, and what it
ignores is ignored. How canisters are built is none of our business and not looked at.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from dfx_backup.errors import ProjectError
from dfx_backup.ic.root_keys import MAINNET_ROOT_KEY
from dfx_backup.project.address import read_root_key, read_url
from dfx_backup.project.document import Node, is_file

FILE_NAME: Final = "icp.yaml"
LOCAL: Final = "local"
MAINNET: Final = "ic"

_TOP_KEYS: Final = ("canisters", "dependencies", "environments", "networks")
_DEPENDENCY_KEYS: Final = ("canisters", "name", "path")
_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class IcpNetwork:
    """A network of an icp.yaml.

    Attributes:
        name: its name.
        managed: icp-cli starts it on this machine, and tells in a file where it answers.
        url: where a connected one answers, without a trailing slash; None for `ic`, which is built
            in, and for a managed one.
        root_key: DER of the key that a connected one is pinned to, or None.
        fetches: icp-cli asks a connected one for its key each time.
        where: names the place of its definition, for messages.
        implicit: it is there although no file defines it.
    """

    name: str
    managed: bool
    url: str | None = None
    root_key: bytes | None = None
    fetches: bool = False
    where: str = ""
    implicit: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IcpEnvironment:
    """An environment of an icp.yaml: a network, and the canisters that are deployed there.

    Attributes:
        name: its name.
        network: name of its network.
        canisters: names that belong to it; None for all of the project.
        where: names the place of its definition, for messages; empty for `local` and `ic` when no
            file defines them.
    """

    name: str
    network: str
    canisters: tuple[str, ...] | None = None
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IcpDependency:
    """Another project whose canisters this one deploys.

    Attributes:
        name: its alias here.
        path: its folder as written, relative to the icp.yaml.
    """

    name: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IcpConfig:
    """What an icp.yaml says.

    Attributes:
        file: the icp.yaml.
        networks: by name; `local` and `ic` are always there.
        environments: by name; `local` and `ic` are always there.
        canisters: the entries of `canisters`, not looked into.
        dependencies: projects of which this one is the workspace.
    """

    file: Path
    networks: Mapping[str, IcpNetwork]
    environments: Mapping[str, IcpEnvironment]
    canisters: tuple[Node, ...]
    dependencies: tuple[IcpDependency, ...]


_Item = TypeVar("_Item", IcpNetwork, IcpEnvironment)


def load_yaml(file: Path) -> Node | None:
    """Read a YAML file; the parser is loaded only now."""
    from dfx_backup.project.yaml_file import read_yaml  # noqa: PLC0415 - most projects need none

    return read_yaml(file)


def read_icp_yaml(file: Path) -> IcpConfig:
    """Read an icp.yaml, and the files of networks and environments that it names.

    Raises:
        ProjectError: one of them is bad; the message names file, key and reason.
    """
    top = load_yaml(file)
    if top is None:
        raise ProjectError(f"{file} is missing")
    top.only(_TOP_KEYS)
    networks = _unique(_items(top.at("networks"), "network"), _network)
    if MAINNET in networks:
        raise ProjectError(f"{networks[MAINNET].where} can't be named 'ic': that one is built in")
    networks[MAINNET] = IcpNetwork(
        name=MAINNET,
        managed=False,
        root_key=MAINNET_ROOT_KEY,
        where="network ic",
        implicit=True,
    )
    local = IcpNetwork(name=LOCAL, managed=True, where="network local", implicit=True)
    networks.setdefault(LOCAL, local)
    environments = _unique(_items(top.at("environments"), "environment"), _environment)
    for name in (LOCAL, MAINNET):
        environments.setdefault(name, IcpEnvironment(name=name, network=name))
    for environment in environments.values():
        if environment.network not in networks:
            raise ProjectError(
                f"{environment.where} names the network {environment.network!r}, which is not "
                "defined",
                hint=f"Networks in {FILE_NAME}: {', '.join(sorted(networks))}.",
            )
    return IcpConfig(
        file=file,
        networks=networks,
        environments=environments,
        canisters=tuple(top.at("canisters").nodes()),
        dependencies=tuple(_dependency(node) for node in top.at("dependencies").nodes()),
    )


def canister_name(node: Node) -> str:
    """The name in the manifest of one canister.

    Raises:
        ProjectError: there is none, or one that icp-cli refuses.
    """
    name = node.at("name")
    if not _NAME.fullmatch(name.text()):
        raise name.error("may have letters, digits, `_` and `-` only")
    return name.text()


def _items(listed: Node, kind: str) -> list[Node]:
    """The manifests of a list, whose entries may also be paths of files."""
    manifests = []
    for node in listed.nodes():
        if not isinstance(node.value, str):
            manifests.append(node)
            continue
        file = node.file.parent / node.text()
        found = load_yaml(file) if is_file(file) else None
        if found is None:
            raise node.error(f"names the file of a {kind} that is not there: {str(file)!r}")
        manifests.append(found)
    return manifests


def _unique(nodes: list[Node], read: Callable[[Node], _Item]) -> dict[str, _Item]:
    made: dict[str, _Item] = {}
    for node in nodes:
        item = read(node)
        if item.name in made:
            raise node.error(f"has the name {item.name!r} for a second time")
        made[item.name] = item
    return made


def _network(node: Node) -> IcpNetwork:
    name, mode = node.at("name").text(), node.at("mode").text()
    if mode == "managed":
        return IcpNetwork(name=name, managed=True, where=node.label)
    if mode != "connected":
        raise node.at("mode").error(f"must be managed or connected, not {mode!r}")
    url = node.at("api-url")
    if url.value is None:
        url = node.at("url")
    spec = node.at("root-key")
    pinned = {"mainnet": MAINNET_ROOT_KEY, "fetch": None}
    key = pinned[spec.text()] if spec.text() in pinned else read_root_key(spec.text(), spec.label)
    return IcpNetwork(
        name=name,
        managed=False,
        url=read_url(url.text(), url.label),
        root_key=key,
        fetches=key is None,
        where=node.label,
    )


def _environment(node: Node) -> IcpEnvironment:
    canisters = node.at("canisters")
    return IcpEnvironment(
        name=node.at("name").text(),
        network=node.at("network").optional_text() or LOCAL,
        canisters=None
        if canisters.value is None
        else tuple(each.text() for each in canisters.nodes()),
        where=node.label,
    )


def _dependency(node: Node) -> IcpDependency:
    node.only(_DEPENDENCY_KEYS)
    return IcpDependency(name=node.at("name").text(), path=node.at("path").text())
