"""Networks: what a name or URL stands for, where it answers, and which root key it must have.

Names are looked up in the order of the tool whose project it is, so that both programs mean the
same network.
"""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from dfx_backup.errors import ProjectError, UsageError
from dfx_backup.ic.root_keys import MAINNET_ROOT_KEY
from dfx_backup.model import Network, Places
from dfx_backup.project import dfx_json, icp_places
from dfx_backup.project.address import is_loopback, looks_like_url, read_port, read_url, url_of_bind
from dfx_backup.project.dfx_json import DfxNetwork, Lifetime
from dfx_backup.project.discover import Project
from dfx_backup.project.document import folder_name, printable, read_text
from dfx_backup.project.icp_yaml import IcpConfig
from dfx_backup.project.settings import Settings, find_settings

DEFAULT_NAME: Final = "local"
MAINNET_NAME: Final = "ic"
MAINNET_URL: Final = "https://icp0.io"
PLAYGROUND_NAME: Final = "playground"

_SHARED_FILE = "networks.json"
_PORT_FILE = "webserver-port"
_SHARED_BIND = "127.0.0.1:4943"
_PROJECT_BIND = "127.0.0.1:8000"


class Origin(enum.StrEnum):
    """Where the meaning of a network's name comes from."""

    BUILT_IN = "built in"
    PROJECT = "dfx.json"
    ICP = "icp.yaml"
    SHARED = "networks.json"
    SETTINGS = "dfx-backup.toml"
    URL = "a URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkDefinition:
    """What a network's name stands for.

    Attributes:
        name: as the user typed it.
        dfx_name: as dfx files it: the same, but a URL has every other character than letters and
            digits replaced by `_`.
        url: where it answers, without a trailing slash.
        origin: where the name was found.
        persistent: its canister ids belong into the project, and into version control.
        is_ic: it is mainnet.
        data_folder: where `dfx start` keeps a local network's data, or None for other networks.
        port_file: the file that told the port in `url`, or None; a stopped network leaves it
            behind, so that the port may be stale.
        root_key: DER of the key that icp.yaml or a network started by icp-cli pins, or None.
        unpinned: the place in icp.yaml that wants the key to be fetched each time, or None.
    """

    name: str
    dfx_name: str
    url: str
    origin: Origin
    persistent: bool
    is_ic: bool
    data_folder: Path | None = None
    port_file: Path | None = None
    root_key: bytes | None = None
    unpinned: str | None = None


def resolve_network(
    project: Project | None,
    name_or_url: str | None,
    *,
    places: Places,
    root_key: bytes | None = None,
) -> Network:
    """Find out where a network answers and which root key its answers must be certified by.

    The key is, in this order: `root_key`; the one that dfx-backup.toml pins; the one that icp.yaml
    pins; none, to be fetched, on loopback; mainnet's. It is never fetched from anywhere else than
    loopback, also when icp.yaml says so.

    Args:
        project: the user's project, or None.
        name_or_url: a name, a URL, or None for `local`.
        places: the user's directories.
        root_key: DER of a key that the user pinned on the command line, or None.

    Raises:
        ProjectError: the name means nothing here, or a file that was read for it is bad.
        UsageError: another root key than mainnet's was given for mainnet.
    """
    found = define_network(project, name_or_url, places=places)
    settings = _settings(project, places)
    pinned = root_key or _pinned(settings, found) or found.root_key
    if MAINNET_NAME in (found.name, found.dfx_name) and pinned not in (None, MAINNET_ROOT_KEY):
        raise UsageError(
            "network 'ic' has its own root key, and another one is pinned for it",
            hint="Leave --root-key out, or give the network a name of its own in dfx-backup.toml.",
        )
    if pinned is None and not is_loopback(found.url):
        if found.unpinned is not None:
            raise ProjectError(
                f"{found.unpinned}: a root key is fetched from this machine only, and network "
                f"{found.name!r} is elsewhere",
                hint="Pin it there in hexadecimal, or with --root-key.",
            )
        pinned = MAINNET_ROOT_KEY
    return Network(name=found.name, url=found.url, root_key=pinned)


def define_network(
    project: Project | None, name_or_url: str | None, *, places: Places
) -> NetworkDefinition:
    """Find out what a network's name stands for.

    In a project of dfx, or none, the order is dfx's: `ic`; dfx.json; networks.json, with a `local`
    of its own; `playground`; a URL. In a project of icp-cli it is: `ic`; an environment of
    icp.yaml; a network of it; a URL. dfx-backup.toml may name further networks, but not give a name
    a second meaning.

    Raises:
        ProjectError: the name means nothing here, or a file that was read for it is bad.
    """
    name = DEFAULT_NAME if name_or_url is None else name_or_url
    settings = _settings(project, places)
    own = settings.networks.get(name)
    url = None if own is None else own.url
    if name == MAINNET_NAME and url is not None:
        raise ProjectError(f"{settings.file}: network.ic.url: network 'ic' is built in")
    if project is not None and project.icp is not None:
        return _in_icp_project(project.icp, name, url, settings, places)
    if name == MAINNET_NAME:
        return _mainnet(name)
    defined = _from_files(project, name, places)
    if url is not None:
        if defined is not None:
            raise _two_meanings(name, settings, defined[0].where)
        return _from_settings(name, url)
    if defined is not None:
        return _from_file(*defined, project, places)
    found = _default(project, name, places) or _built_in_or_url(name)
    if found is None:
        raise _unknown(project, name, places)
    return found


def _two_meanings(name: str, settings: Settings, where: str) -> ProjectError:
    return ProjectError(
        f"network {name!r} has two meanings: {settings.file} and {where}",
        hint=f"Leave `url` out of [network.{printable(name)}] in {settings.file}.",
    )


def _in_icp_project(
    config: IcpConfig, name: str, url: str | None, settings: Settings, places: Places
) -> NetworkDefinition:
    meant = icp_places.meaning(config, name)
    if url is not None:
        if meant is not None and meant.written:
            raise _two_meanings(name, settings, meant.where)
        return _from_settings(name, url)
    if meant is None:
        if looks_like_url(name):
            return _from_url(name)
        raise _unknown_to_icp(config, name, settings)
    network = meant.network
    if network.name == MAINNET_NAME:
        return replace(_mainnet(MAINNET_NAME), name=name, root_key=network.root_key)
    found = NetworkDefinition(
        name=name,
        dfx_name=folder_name(name, "a network"),
        url=network.url or "",
        origin=Origin.ICP,
        persistent=not network.managed,
        is_ic=network.root_key == MAINNET_ROOT_KEY,
        root_key=network.root_key,
        unpinned=network.where if network.fetches else None,
    )
    if not network.managed:
        return found
    runs = icp_places.running(config, network, places)
    return replace(found, url=runs.url, root_key=runs.root_key, port_file=runs.file)


def _unknown_to_icp(config: IcpConfig, name: str, settings: Settings) -> ProjectError:
    names = {*config.environments, *config.networks, *settings.networks}
    known = ", ".join(sorted(printable(other) for other in names))
    return ProjectError(
        f"network {name!r} is not known: {config.file} has neither an environment nor a network of "
        "that name",
        hint=f"Known: {known}. A URL such as http://127.0.0.1:8000 is a network too.",
    )


def _settings(project: Project | None, places: Places) -> Settings:
    return project.settings if project is not None else find_settings(Path(places.cwd))


def _pinned(settings: Settings, found: NetworkDefinition) -> bytes | None:
    """The root key that dfx-backup.toml pins; a URL means the same with and without a slash."""
    for name, own in settings.networks.items():
        if name.rstrip("/") == found.name.rstrip("/") and own.root_key is not None:
            return own.root_key
    return None


def _mainnet(name: str) -> NetworkDefinition:
    return NetworkDefinition(
        name=name,
        dfx_name=name,
        url=MAINNET_URL,
        origin=Origin.BUILT_IN,
        persistent=name == MAINNET_NAME,
        is_ic=True,
    )


def _from_settings(name: str, url: str) -> NetworkDefinition:
    return NetworkDefinition(
        name=name,
        dfx_name=folder_name(name, "a network"),
        url=url,
        origin=Origin.SETTINGS,
        persistent=True,
        is_ic=_is_mainnet(url),
    )


def _tables(
    project: Project | None, places: Places
) -> list[tuple[Origin, Mapping[str, DfxNetwork]]]:
    """Where dfx looks names up, in its order."""
    shared = dfx_json.read_networks_json(Path(places.dfx_config) / _SHARED_FILE)
    own = {} if project is None or project.dfx is None else project.dfx.networks
    return [(Origin.PROJECT, own), (Origin.SHARED, shared)]


def _from_files(
    project: Project | None, name: str, places: Places
) -> tuple[DfxNetwork, Origin] | None:
    for origin, networks in _tables(project, places):
        if name in networks:
            return networks[name], origin
    return None


def _default(project: Project | None, name: str, places: Places) -> NetworkDefinition | None:
    """The shared network `local` that dfx has without any file."""
    if name != DEFAULT_NAME:
        return None
    local = DfxNetwork(
        name=name,
        where="network local",
        providers=(),
        bind=None,
        lifetime=Lifetime.EPHEMERAL,
        playground=False,
    )
    return _from_file(local, Origin.SHARED, project, places)


def _from_file(
    network: DfxNetwork, origin: Origin, project: Project | None, places: Places
) -> NetworkDefinition:
    name = folder_name(network.name, "a network")
    persistent = network.lifetime is Lifetime.PERSISTENT and not network.playground
    if network.providers:
        url = read_url(network.providers[0], f"{network.where}.providers")
        return NetworkDefinition(
            name=name,
            dfx_name=name,
            url=url,
            origin=origin,
            persistent=persistent,
            is_ic=len(network.providers) == 1 and _is_mainnet(url),
        )
    if origin is Origin.PROJECT and project is not None:
        data, bind = project.root / ".dfx" / "network" / name, _PROJECT_BIND
    else:
        data, bind = Path(places.dfx_shared_data) / "network" / name, _SHARED_BIND
    port, port_file = _running_port(data / _PORT_FILE)
    return NetworkDefinition(
        name=name,
        dfx_name=name,
        url=url_of_bind(network.bind or bind, port, f"{network.where}.bind"),
        origin=origin,
        persistent=persistent,
        is_ic=False,
        data_folder=data,
        port_file=port_file,
    )


def _running_port(file: Path) -> tuple[int | None, Path | None]:
    """The port at which `dfx start` listens; dfx empties the file before it fills it."""
    text = read_text(file)
    if text is None or not text.strip():
        return None, None
    port = read_port(text)
    if port is None:
        raise ProjectError(
            f"{file} does not hold a port number",
            hint="`dfx start` writes that file anew.",
        )
    return port, file


def _built_in_or_url(name: str) -> NetworkDefinition | None:
    if name == PLAYGROUND_NAME:
        return _mainnet(name)
    return _from_url(name) if looks_like_url(name) else None


def _from_url(name: str) -> NetworkDefinition:
    url = read_url(name, "network")
    return NetworkDefinition(
        name=name,
        dfx_name=re.sub(r"[^A-Za-z0-9]", "_", name),
        url=url,
        origin=Origin.URL,
        persistent=False,
        is_ic=_is_mainnet(url),
    )


def _is_mainnet(url: str) -> bool:
    """Whether dfx takes the URL for mainnet's; it knows this one only."""
    return url == MAINNET_URL


def _unknown(project: Project | None, name: str, places: Places) -> ProjectError:
    names = {MAINNET_NAME, DEFAULT_NAME, PLAYGROUND_NAME, *_settings(project, places).networks}
    for _origin, networks in _tables(project, places):
        names.update(networks)
    known = ", ".join(sorted(printable(other) for other in names - {name}))
    where = "without a project" if project is None else f"in the project {project.root}"
    return ProjectError(
        f"network {name!r} is not known {where}",
        hint=f"Known networks: {known}. A URL such as http://127.0.0.1:4943 is a network too.",
    )
