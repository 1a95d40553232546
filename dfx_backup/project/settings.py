"""dfx-backup.toml: what a project settles once for all commands."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dfx_backup.project.address import read_root_key, read_url
from dfx_backup.project.document import Node, is_file, read_toml

FILE_NAME: Final = "dfx-backup.toml"

_SECTIONS: Final = ("canister", "network", "repository", "retention", "set")
_NETWORK_KEYS: Final = ("root_key", "url")
_CANISTER_KEYS: Final = ("keep_on_chain", "tags")
_SET_KEYS: Final = ("canisters", "stop_order", "timeout")
_COUNTS: Final = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
_RETENTION_KEYS: Final = tuple(f"keep_{what}" for what in (*_COUNTS, "within", "tag"))
_DURATION: Final = re.compile(r"(\d{1,6})\s*(s|m|h)")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}
_MOST_ON_CHAIN: Final = 9
"""Ten slots, of which one must stay free for the next snapshot."""


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
class RetentionSettings:
    """The `[retention]` section; `forget` without options of its own goes by it.

    Attributes:
        last, hourly, daily, weekly, monthly, yearly: how many to keep; -1 for all, 0 for no rule.
        within: keep everything this far back, such as `1y5m7d2h`, or None.
        tags: lists of tags; a backup that has all tags of one of them is kept.
    """

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: str | None = None
    tags: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CanisterChoices:
    """A `[canister.NAME]` section: `create` without names takes these canisters.

    Attributes:
        keep_on_chain: how many of our snapshots stay on the subnet, or None for the default.
        tags: on every backup of it.
    """

    keep_on_chain: int | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSettings:
    """A `[set.NAME]` section: canisters that are taken and restored together.

    Attributes:
        canisters: their names or principals.
        stop_order: the same in the order in which they are stopped; they start in reverse.
        timeout_s: seconds for which each may take to stop, or None for the default.
    """

    canisters: tuple[str, ...]
    stop_order: tuple[str, ...]
    timeout_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What dfx-backup.toml says; empty without such a file.

    Attributes:
        file: where it is, or None.
        repository: path or URL of the repository as written, or None.
        networks: `[network.NAME]` sections by name.
        canisters: `[canister.NAME]` sections by name.
        sets: `[set.NAME]` sections by name.
        retention: the `[retention]` section, or None without one.
    """

    file: Path | None = None
    repository: str | None = None
    networks: Mapping[str, NetworkSettings] = field(default_factory=dict)
    canisters: Mapping[str, CanisterChoices] = field(default_factory=dict)
    sets: Mapping[str, SetSettings] = field(default_factory=dict)
    retention: RetentionSettings | None = None


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
        canisters={name: _canister(node) for name, node in top.at("canister").items()},
        sets={name: _set(node) for name, node in top.at("set").items()},
        retention=_retention(top.at("retention")),
    )


def _network(node: Node) -> NetworkSettings:
    node.only(_NETWORK_KEYS)
    url, key = node.at("url"), node.at("root_key")
    url_text, key_text = url.optional_text(), key.optional_text()
    return NetworkSettings(
        url=None if url_text is None else read_url(url_text, url.label),
        root_key=None if key_text is None else read_root_key(key_text, key.label),
    )


def _canister(node: Node) -> CanisterChoices:
    node.only(_CANISTER_KEYS)
    keep = node.at("keep_on_chain")
    count = None if keep.value is None else keep.number()
    if count is not None and not 0 <= count <= _MOST_ON_CHAIN:
        raise keep.error(f"must be a number from 0 to {_MOST_ON_CHAIN}")
    tags = tuple(each.text() for each in node.at("tags").nodes())
    return CanisterChoices(keep_on_chain=count, tags=tags)


def _set(node: Node) -> SetSettings:
    node.only(_SET_KEYS)
    canisters = _names(node.at("canisters"))
    if not canisters:
        raise node.at("canisters").error("must name at least one canister")
    order, timeout = node.at("stop_order"), node.at("timeout")
    stop_order = canisters if order.value is None else _names(order)
    if sorted(stop_order) != sorted(canisters):
        raise order.error("must name the canisters of the set, each once")
    return SetSettings(
        canisters=canisters,
        stop_order=stop_order,
        timeout_s=None if timeout.value is None else _seconds(timeout),
    )


def _names(node: Node) -> tuple[str, ...]:
    names = tuple(each.text() for each in node.nodes())
    if len(set(names)) != len(names):
        raise node.error("names a canister twice")
    return names


def _seconds(node: Node) -> int:
    """A duration: a number of seconds, or text such as `90s`, `2m`, `1h`."""
    if isinstance(node.value, str):
        found = _DURATION.fullmatch(node.text().strip())
        if found is None:
            raise node.error("must be a duration", hint="Write seconds, or `90s`, `2m`, `1h`.")
        seconds = int(found[1]) * _SECONDS[found[2]]
    else:
        seconds = node.number()
    if seconds <= 0:
        raise node.error("must be longer than nothing")
    return seconds


def _retention(node: Node) -> RetentionSettings | None:
    if node.value is None:
        return None
    node.only(_RETENTION_KEYS)
    counts = {what: _count(node.at(f"keep_{what}")) for what in _COUNTS}
    tags = tuple(tuple(each.text().split(",")) for each in node.at("keep_tag").nodes())
    within = node.at("keep_within").optional_text()
    return RetentionSettings(**counts, within=within, tags=tags)


def _count(node: Node) -> int:
    if node.value is None:
        return 0
    if node.number() < -1:
        raise node.error("must be a number, or -1 for all")
    return node.number()
