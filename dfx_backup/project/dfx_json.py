"""dfx.json and the networks in it, as far as backups need them.

Keys that dfx ignores are ignored; what dfx refuses is refused here with the key and the reason.
"""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dfx_backup.errors import ProjectError
from dfx_backup.model import CanisterId
from dfx_backup.project.document import Node, printable, read_json

FILE_NAME: Final = "dfx.json"
_DEFAULT_TYPE: Final = "motoko"
_PULL: Final = "pull"


class Lifetime(enum.StrEnum):
    """Whether a network outlives the machine on which it was started."""

    PERSISTENT = "persistent"
    EPHEMERAL = "ephemeral"


@dataclass(frozen=True, slots=True, kw_only=True)
class DfxNetwork:
    """A network as dfx.json or networks.json defines it.

    Attributes:
        name: its name.
        where: the file and key that define it, for messages.
        providers: URLs; when there are none, the network is a local one that `dfx start` runs.
        bind: `HOST:PORT` of a local one, or None for the default of the file's kind.
        lifetime: decides in which file its canister ids are.
        playground: canisters are borrowed from a playground.
    """

    name: str
    where: str
    providers: tuple[str, ...]
    bind: str | None
    lifetime: Lifetime
    playground: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DfxCanister:
    """A canister as dfx.json defines it.

    Attributes:
        name: its name.
        kind: `motoko`, `rust`, `assets`, `custom`, `pull`, or the name of an extension's type.
        dependencies: names of canisters that this one needs.
        remote_ids: ids by network (or `__default`), where somebody else deploys the canister.
        pull_id: the id of a canister of type `pull`, valid on every network.
    """

    name: str
    kind: str
    dependencies: tuple[str, ...]
    remote_ids: Mapping[str, CanisterId]
    pull_id: CanisterId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DfxConfig:
    """What dfx.json says.

    Attributes:
        file: where it is.
        dfx_version: the version that the project asks for, or None.
        canisters: by name, sorted.
        networks: by name, sorted.
    """

    file: Path
    dfx_version: str | None = None
    canisters: Mapping[str, DfxCanister] = field(default_factory=dict)
    networks: Mapping[str, DfxNetwork] = field(default_factory=dict)


def read_dfx_json(file: Path) -> DfxConfig:
    """Read dfx.json.

    Raises:
        ProjectError: it is missing or bad; the message names file, key and reason.
    """
    top = read_json(file)
    if top is None:
        raise ProjectError(f"{file} is missing")
    top.at("defaults").items()
    return DfxConfig(
        file=file,
        dfx_version=top.at("dfx").optional_text(),
        canisters={name: _canister(name, node) for name, node in top.at("canisters").items()},
        networks={name: _network(name, node) for name, node in top.at("networks").items()},
    )


def read_networks_json(file: Path) -> Mapping[str, DfxNetwork]:
    """Read dfx's shared networks.json; a missing file defines none.

    Raises:
        ProjectError: it is bad; the message names file, key and reason.
    """
    top = read_json(file)
    return {} if top is None else {name: _network(name, node) for name, node in top.items()}


def in_dependency_order(config: DfxConfig, names: Iterable[str] | None = None) -> tuple[str, ...]:
    """Names and all that they depend on, each after its dependencies; otherwise sorted.

    Args:
        config: the project.
        names: where to begin; None for all canisters.

    Raises:
        ProjectError: a name is not in dfx.json, or canisters depend on one another in a circle.
    """
    wanted = sorted(config.canisters) if names is None else list(names)
    ordered: dict[str, None] = {}
    # A stack of our own: a chain in a file may be longer than Python's.
    stack: list[tuple[str, tuple[str, ...]]] = [(name, ()) for name in reversed(wanted)]
    leaving: list[str] = []
    while stack:
        name, trail = stack.pop()
        while leaving and len(trail) < len(leaving):
            ordered[leaving.pop()] = None
        if name in ordered:
            continue
        if name in trail:
            circle = " -> ".join(printable(key) for key in (*trail[trail.index(name) :], name))
            raise ProjectError(f"{config.file}: canisters depend on one another: {circle}")
        needed = _known(config, name, trail).dependencies
        leaving.append(name)
        stack.extend((other, (*trail, name)) for other in sorted(needed, reverse=True))
    while leaving:
        ordered[leaving.pop()] = None
    return tuple(ordered)


def _known(config: DfxConfig, name: str, trail: tuple[str, ...]) -> DfxCanister:
    canister = config.canisters.get(name)
    if canister is None:
        by = f", which {trail[-1]!r} depends on," if trail else ""
        raise ProjectError(f"{config.file}: canister {name!r}{by} is not defined")
    return canister


def _canister(name: str, node: Node) -> DfxCanister:
    if node.value is None:
        raise node.error("must be an object, not null")
    kind = node.at("type").optional_text() or _DEFAULT_TYPE
    remote = node.at("remote").at("id")
    return DfxCanister(
        name=name,
        kind=kind,
        dependencies=tuple(entry.text() for entry in node.at("dependencies").nodes()),
        remote_ids={network: entry.canister_id() for network, entry in remote.items()},
        pull_id=node.at("id").canister_id() if kind == _PULL else None,
    )


def _network(name: str, node: Node) -> DfxNetwork:
    if node.value is None:
        raise node.error("must be an object, not null")
    providers = tuple(entry.text() for entry in node.at("providers").nodes())
    if not providers and node.at("providers").value is not None:
        raise node.at("providers").error("must list at least one URL")
    default = Lifetime.PERSISTENT if providers else Lifetime.EPHEMERAL
    node.at("playground").items()
    return DfxNetwork(
        name=name,
        where=node.label,
        providers=providers,
        bind=node.at("bind").optional_text(),
        lifetime=_lifetime(node.at("type"), default),
        playground=node.at("playground").value is not None,
    )


def _lifetime(node: Node, default: Lifetime) -> Lifetime:
    text = node.optional_text()
    if text is None:
        return default
    try:
        return Lifetime(text)
    except ValueError:
        raise node.error(f"must be persistent or ephemeral, not {text!r}") from None
