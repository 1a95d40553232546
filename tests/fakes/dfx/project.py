"""Finds the project, the network and canister ids, by dfx's order of precedence."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from icp_principal import Principal

from tests.fakes.dfx.shell import DfxError, Shell


@dataclass(frozen=True, slots=True)
class Network:
    name: str
    url: str
    persistent: bool
    is_ic: bool = False


def project_root() -> Path | None:
    """The nearest folder at or above ours with a dfx.json."""
    here = Path.cwd().resolve()
    return next((place for place in (here, *here.parents) if (place / "dfx.json").is_file()), None)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        read = json.loads(path.read_text())
    except ValueError as err:
        raise DfxError(f"failed to parse contents of {path} as json", str(err)) from err
    assert isinstance(read, dict)
    return read


def dfx_json(root: Path | None) -> dict[str, Any]:
    return {} if root is None else _read(root / "dfx.json")


def find_network(shell: Shell, root: Path | None) -> Network:
    """The network of --network or DFX_NETWORK; `local` by default."""
    name = "local" if shell.network is None else shell.network
    if name == "ic":
        url = str(shell.settings.get("ic_url") or "https://icp0.io")
        return Network(name, url, persistent=True, is_ic=True)
    own = dfx_json(root).get("networks", {}).get(name)
    if own is not None and root is not None:
        return _described(
            name, own, data=root / ".dfx" / "network" / name, default="127.0.0.1:8000"
        )
    shared = _read(shell.config / "networks.json").get(name)
    if shared is None and name == "local":
        shared = {"bind": "127.0.0.1:4943"}
    if shared is not None:
        data = shell.shared_data / "network" / name
        return _described(name, shared, data=data, default="127.0.0.1:4943")
    if name == "playground":
        url = str(shell.settings.get("ic_url") or "https://icp0.io")
        return Network(name, url, persistent=False, is_ic=True)
    if re.match(r"[a-z][a-z0-9+.-]*://", name):
        return Network(
            re.sub(r"[^A-Za-z0-9]", "_", name),
            name.rstrip("/"),
            persistent=False,
            is_ic=name in {"https://icp0.io", "https://icp0.io/"},
        )
    raise DfxError(f"Network not found: {name}")


def _described(name: str, described: dict[str, Any], *, data: Path, default: str) -> Network:
    if "providers" in described:
        url = described["providers"][0]
        is_ic = [url] in (["https://icp0.io"], ["https://icp0.io/"])
        persistent = described.get("type", "persistent") == "persistent"
        return Network(name, url.rstrip("/"), persistent=persistent, is_ic=is_ic)
    bind = described.get("bind", default)
    url = bind if "://" in bind else f"http://{bind}"
    port = data / "webserver-port"
    text = port.read_text().strip() if port.is_file() else ""
    if text:
        url = f"http://{urlsplit(url).hostname}:{text}"
    return Network(name, url, persistent=described.get("type", "ephemeral") == "persistent")


def find_canister(argument: str, network: Network, root: Path | None) -> str:
    """A principal as it is, or the id of a name: remote, then the ids file, then pull."""
    try:
        return str(Principal.from_str(argument).to_str())
    except (ValueError, AssertionError):  # whatever icp-py-core thinks of a name
        pass
    described = dfx_json(root).get("canisters", {}).get(argument, {})
    for ids in (described.get("remote", {}).get("id", {}), _ids(network, root).get(argument, {})):
        found = ids.get(network.name) or ids.get("__default")
        if found:
            return str(found)
    if described.get("type") == "pull":
        return str(described["id"])
    suffix = "" if network.name == "local" else f" --network {network.name}"
    raise DfxError(
        f"Cannot find canister id. Please issue 'dfx canister create {argument}{suffix}'."
    )


def _ids(network: Network, root: Path | None) -> dict[str, Any]:
    if root is None:
        return {}
    folder = root if network.persistent else root / ".dfx" / network.name
    return _read(folder / "canister_ids.json")
