"""A canister's settings, which no snapshot holds, and its status."""

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dfx_backup.ic.principal import Principal
from dfx_backup.model import CanisterStatus, RunState

if TYPE_CHECKING:
    from dfx_backup.ic.candid import Value

_NUMBERS = (
    "compute_allocation",
    "memory_allocation",
    "freezing_threshold",
    "reserved_cycles_limit",
    "minimum_incoming_canister_call_cycles",
    "log_memory_limit",
    "wasm_memory_limit",
    "wasm_memory_threshold",
)
_VISIBILITIES = ("log_visibility", "snapshot_visibility", "status_visibility")


class Audience(enum.StrEnum):
    """Who may see something of a canister."""

    CONTROLLERS = "controllers"
    PUBLIC = "public"
    ALLOWED_VIEWERS = "allowed_viewers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visibility:
    """Who may see something of a canister.

    Attributes:
        audience: who.
        viewers: principals in text form, for `ALLOWED_VIEWERS`.
    """

    audience: Audience
    viewers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CanisterSettings:
    """A canister's settings. None: not told when read, not changed when written.

    Attributes:
        controllers: principals in text form.
        compute_allocation: percent.
        memory_allocation: bytes.
        freezing_threshold: seconds.
        reserved_cycles_limit: cycles.
        minimum_incoming_canister_call_cycles: cycles.
        log_visibility: who reads its logs.
        log_memory_limit: bytes.
        snapshot_visibility: who reads its snapshots.
        status_visibility: who reads its status.
        wasm_memory_limit: bytes.
        wasm_memory_threshold: bytes.
        environment_variables: pairs of name and value.
    """

    controllers: tuple[str, ...] | None = None
    compute_allocation: int | None = None
    memory_allocation: int | None = None
    freezing_threshold: int | None = None
    reserved_cycles_limit: int | None = None
    minimum_incoming_canister_call_cycles: int | None = None
    log_visibility: Visibility | None = None
    log_memory_limit: int | None = None
    snapshot_visibility: Visibility | None = None
    status_visibility: Visibility | None = None
    wasm_memory_limit: int | None = None
    wasm_memory_threshold: int | None = None
    environment_variables: tuple[tuple[str, str], ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FullStatus:
    """Status and settings, from one certified answer.

    Attributes:
        status: the status in the model's terms.
        settings: the settings.
    """

    status: CanisterStatus
    settings: CanisterSettings


def status_from_candid(found: "Value") -> FullStatus:
    """Status and settings out of the decoded reply (`management_types.STATUS`)."""
    settings = settings_from_candid(found["settings"])
    hash_, sizes = found["module_hash"], found["memory_metrics"] or {}
    status = CanisterStatus(
        state=RunState(found["status"][0]),
        version=found["version"],
        module_hash=None if hash_ is None else hash_.hex(),
        controllers=settings.controllers or (),
        memory_bytes=found["memory_size"],
        snapshots_bytes=sizes.get("snapshots_size"),
        heap_bytes=sizes.get("wasm_memory_size"),
        stable_bytes=sizes.get("stable_memory_size"),
        module_bytes=sizes.get("wasm_binary_size"),
        cycles=found["cycles"],
        reserved_cycles=found["reserved_cycles"],
        idle_cycles_per_day=found["idle_cycles_burned_per_day"],
        freezing_threshold_s=settings.freezing_threshold,
    )
    return FullStatus(status=status, settings=settings)


def settings_from_candid(found: "Value") -> CanisterSettings:
    """Settings out of a decoded record (`management_types.SETTINGS`)."""
    controllers, variables = found["controllers"], found["environment_variables"]
    return CanisterSettings(
        controllers=None if controllers is None else tuple(map(str, controllers)),
        environment_variables=None
        if variables is None
        else tuple((each["name"], each["value"]) for each in variables),
        log_visibility=_visibility(found["log_visibility"]),
        snapshot_visibility=_visibility(found["snapshot_visibility"]),
        status_visibility=_visibility(found["status_visibility"]),
        **{name: found[name] for name in _NUMBERS},
    )


def settings_to_candid(settings: CanisterSettings) -> "dict[str, Value]":
    """The record that `update_settings` and `create_canister` take.

    Raises:
        PrincipalError: a controller or viewer is no principal.
    """
    controllers, variables = settings.controllers, settings.environment_variables
    record: dict[str, Value] = {name: getattr(settings, name) for name in _NUMBERS}
    if controllers is not None:
        record["controllers"] = [Principal.from_text(each) for each in controllers]
    if variables is not None:
        record["environment_variables"] = [
            {"name": name, "value": value} for name, value in variables
        ]
    for name in _VISIBILITIES:
        visibility: Visibility | None = getattr(settings, name)
        if visibility is not None:
            viewers = [Principal.from_text(each) for each in visibility.viewers]
            limited = visibility.audience is Audience.ALLOWED_VIEWERS
            record[name] = (visibility.audience.value, viewers if limited else None)
    return record


def _visibility(found: "Value") -> Visibility | None:
    if found is None:
        return None
    audience, viewers = found
    return Visibility(audience=Audience(audience), viewers=tuple(map(str, viewers or ())))
