"""What only a backup in a repository knows of its canister: the section `backup` of backup.json."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from dfx_backup.files import Fields
from dfx_backup.ic.canister_settings import Audience, CanisterSettings, Visibility
from dfx_backup.model import Consistency
from dfx_backup.transfer.stable_details import StableDetails

KIND_SNAPSHOT: Final = "snapshot"
"""A whole canister snapshot."""
KIND_STABLE: Final = "stable"
"""A stream of a canister's memory."""

_ID_DIGITS = 32
_HEX = frozenset("0123456789abcdef")
_VISIBILITIES = ("log_visibility", "snapshot_visibility", "status_visibility")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupDetails:
    """The section `backup`. None: nobody could tell.

    Attributes:
        backup_id: 32 hexadecimal digits, random; stays when tags of the snapshot object change.
        network_name: what the user called the network.
        taken_at_ns: when the snapshot was taken, nanoseconds since the epoch.
        consistency: what it promises.
        kind: what was backed up.
        set_id: 32 hexadecimal digits that backups taken together share.
        set_canisters: principals of all canisters of the set in the order in which they were
            stopped, in text form; empty without a set.
        canister_name: name in the project.
        subnet_id: principal of the subnet, in text form.
        canister_version: the canister's version then.
        module_hash: SHA-256 of the installed module, hexadecimal.
        level: what was verified when it was made: 1 certified and committed, 2 all data read back.
        ours_only: other programs can't upload it exactly: floats that metadata.json can't hold.
        driver: what controlled the canister, with its version.
        outage_s: seconds from sending stop to receiving start's answer; 0 without a stop.
        cycles: the balance, in cycles.
        cycles_estimate: estimate of the cycles that it cost.
        certificate_time: of the newest certificate that vouches for the data, in seconds since the
            epoch.
        settings: the canister's settings, controllers and environment variables.
        candid: metadata sections of the module by their names, such as `candid:service`.
        stable: the stream, of a backup of kind `stable`; None of any other.
        raw_bytes: bytes of the files, zero pages included.
        new_bytes: the part of them that the repository did not have.
        stored_bytes: what that took, compressed and encrypted.
        extra: fields of newer versions; kept and written back.
    """

    backup_id: str
    network_name: str
    taken_at_ns: int
    consistency: Consistency
    kind: str = KIND_SNAPSHOT
    set_id: str | None = None
    set_canisters: tuple[str, ...] = ()
    canister_name: str | None = None
    subnet_id: str | None = None
    canister_version: int | None = None
    module_hash: str | None = None
    level: int = 1
    ours_only: bool = False
    driver: str | None = None
    outage_s: float | None = None
    cycles: int | None = None
    cycles_estimate: int | None = None
    certificate_time: float | None = None
    settings: CanisterSettings | None = None
    candid: tuple[tuple[str, str], ...] = ()
    stable: StableDetails | None = None
    raw_bytes: int | None = None
    new_bytes: int | None = None
    stored_bytes: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


_AMOUNTS = ("cycles", "cycles_estimate")
"""Decimal strings: they outgrow what JSON readers keep exactly."""
_PLAIN = tuple(
    each.name
    for each in fields(BackupDetails)
    if each.name not in {*_AMOUNTS, "set_canisters", "settings", "candid", "stable", "extra"}
)
_KNOWN = {*_PLAIN, *_AMOUNTS, "set_canisters", "settings", "candid", "stable"}


def details_to_json(details: BackupDetails) -> dict[str, Any]:
    """The section's content."""
    content: dict[str, Any] = {name: getattr(details, name) for name in _PLAIN}
    content |= {name: _decimal(getattr(details, name)) for name in _AMOUNTS}
    content["set_canisters"] = list(details.set_canisters)
    content["settings"] = None if details.settings is None else settings_to_json(details.settings)
    content["candid"] = dict(details.candid)
    if details.stable is not None:
        content["stable"] = details.stable.to_json()
    return content | dict(details.extra)


def details_from_json(content: Mapping[str, Any], section: Fields) -> BackupDetails:
    """The opposite of `details_to_json`.

    Args:
        content: what was parsed.
        section: the same, for typed access.

    Raises:
        DamageError: it is not what was written.
    """
    level, certified = section.whole("level"), content.get("certificate_time")
    if not 0 <= level <= 9:
        raise section.damaged("'level' is none")
    stable = section.optional_child("stable")
    if stable is None and section.text("kind") == KIND_STABLE:
        raise section.damaged("'stable' is missing")
    return BackupDetails(
        backup_id=_id(section, section.text("backup_id")),
        network_name=section.text("network_name"),
        taken_at_ns=section.whole("taken_at_ns"),
        consistency=section.choice("consistency", Consistency),
        kind=section.text("kind"),
        set_id=None if content.get("set_id") is None else _id(section, section.text("set_id")),
        set_canisters=section.texts("set_canisters") if "set_canisters" in content else (),
        canister_name=section.optional_text("canister_name"),
        subnet_id=section.optional_text("subnet_id"),
        canister_version=section.optional_whole("canister_version"),
        module_hash=section.optional_text("module_hash"),
        level=level,
        ours_only=section.flag("ours_only"),
        driver=section.optional_text("driver"),
        outage_s=None if content.get("outage_s") is None else section.number("outage_s"),
        cycles=_amount(section, "cycles"),
        cycles_estimate=_amount(section, "cycles_estimate"),
        certificate_time=None if certified is None else section.number("certificate_time"),
        settings=_settings(content, section),
        candid=_texts_by_name(content.get("candid"), section, "candid"),
        stable=None if stable is None else StableDetails.parse(stable),
        raw_bytes=section.optional_whole("raw_bytes"),
        new_bytes=section.optional_whole("new_bytes"),
        stored_bytes=section.optional_whole("stored_bytes"),
        extra={name: value for name, value in content.items() if name not in _KNOWN},
    )


def settings_to_json(settings: CanisterSettings) -> dict[str, Any]:
    """Settings as JSON: numbers as decimal strings, what is not told left out."""
    content: dict[str, Any] = {}
    for each in fields(CanisterSettings):
        value = getattr(settings, each.name)
        if isinstance(value, Visibility):
            content[each.name] = {"audience": value.audience.value, "viewers": list(value.viewers)}
        elif each.name == "environment_variables" and value is not None:
            content[each.name] = [{"name": name, "value": text} for name, text in value]
        elif each.name == "controllers" and value is not None:
            content[each.name] = list(value)
        elif value is not None:
            content[each.name] = str(value)
    return content


def _settings(content: Mapping[str, Any], section: Fields) -> CanisterSettings | None:
    told = content.get("settings")
    if told is None:
        return None
    found = section.child("settings")
    values: dict[str, Any] = {}
    for each in fields(CanisterSettings):
        if told.get(each.name) is None:
            continue
        if each.name in _VISIBILITIES:
            child = found.child(each.name)
            audience = child.choice("audience", Audience)
            values[each.name] = Visibility(audience=audience, viewers=child.texts("viewers"))
        elif each.name == "controllers":
            values[each.name] = found.texts(each.name)
        elif each.name == "environment_variables":
            pairs = found.objects(each.name)
            values[each.name] = tuple((pair.text("name"), pair.text("value")) for pair in pairs)
        else:
            values[each.name] = _amount(found, each.name)
    return CanisterSettings(**values)


def _texts_by_name(content: object, section: Fields, what: str) -> tuple[tuple[str, str], ...]:
    pairs = content.items() if isinstance(content, dict) else ()
    if not isinstance(content, dict | None) or not all(isinstance(text, str) for _, text in pairs):
        raise section.damaged(f"`{what}` is no object of texts")
    return tuple(pairs)


def _id(section: Fields, text: str) -> str:
    if len(text) != _ID_DIGITS or set(text) - _HEX:
        raise section.damaged(f"`{text}` is no id of a backup or set")
    return text


def _amount(section: Fields, name: str) -> int | None:
    text = section.optional_text(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 60:
        raise section.damaged(f"`{name}` is no amount")
    return int(text)


def _decimal(amount: int | None) -> str | None:
    return None if amount is None else str(amount)
