"""dfx-backup.toml: what a project settles once for all commands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dfx_backup.project.address import read_root_key, read_url
from dfx_backup.project.document import Node, is_file, read_toml

FILE_NAME: Final = "dfx-backup.toml"

_SECTIONS: Final = ("canister", "network", "repository", "retention", "set")
_NETWORK_KEYS: Final = ("root_key", "url")
_CANISTER_KEYS: Final[tuple[str, ...]] = ()
_SET_KEYS: Final = ("canisters", "stop_order", "timeout")
_RETENTION_KEYS: Final = tuple(
    f"keep_{what}"
    for what in ("last", "hourly", "daily", "weekly", "monthly", "yearly", "within", "tag")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """A `[network.NAME]` section.

    Attributes:
        url: where the network answers, or None when dfx.json says it.
        root_key: DER of the key to trust, or None for the rule of the place.
    """

    url: str | None = None
    root_key: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What dfx-backup.toml says; empty without such a file.

    Attributes:
        file: where it is, or None.
        repository: path or URL of the repository as written, or None.
        networks: `[network.NAME]` sections by name.
        canisters: `[canister.NAME]` sections by name, as they were read.
        sets: `[set.NAME]` sections by name, as they were read.
        retention: the `[retention]` section as it was read.
    """

    file: Path | None = None
    repository: str | None = None
    networks: Mapping[str, NetworkSettings] = field(default_factory=dict)
    canisters: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    sets: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    retention: Mapping[str, object] = field(default_factory=dict)


def find_settings(start: Path) -> Settings:
    """The settings of the nearest dfx-backup.toml at or above a folder.

    Raises:
        ProjectError: the file is bad; the message names file, key and reason.
    """
    for folder in (start, *start.parents):
        if is_file(folder / FILE_NAME):
            return read_settings(folder / FILE_NAME)
    return Settings()


def read_settings(file: Path) -> Settings:
    """Read dfx-backup.toml; a missing file settles nothing.

    Raises:
        ProjectError: it is bad, or has a key that is not known; the message names file, key and
            reason.
    """
    top = read_toml(file)
    if top is None:
        return Settings()
    top.only(_SECTIONS)
    return Settings(
        file=file,
        repository=top.at("repository").optional_text(),
        networks={name: _network(node) for name, node in top.at("network").items()},
        canisters={name: _raw(node, _CANISTER_KEYS) for name, node in top.at("canister").items()},
        sets={name: _raw(node, _SET_KEYS) for name, node in top.at("set").items()},
        retention=_raw(top.at("retention"), _RETENTION_KEYS),
    )


def _network(node: Node) -> NetworkSettings:
    node.only(_NETWORK_KEYS)
    url, key = node.at("url"), node.at("root_key")
    url_text, key_text = url.optional_text(), key.optional_text()
    return NetworkSettings(
        url=None if url_text is None else read_url(url_text, url.label),
        root_key=None if key_text is None else read_root_key(key_text, key.label),
    )


def _raw(node: Node, known: tuple[str, ...]) -> Mapping[str, object]:
    node.only(known)
    return {key: entry.value for key, entry in node.items()}
