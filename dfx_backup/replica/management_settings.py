"""Canister settings: checked, applied, and written as Candid (interface specification 0.66)."""

from dataclasses import replace
from typing import Any, Final

from dfx_backup.replica.management_access import CONTRACT_VIOLATION, INVALID_PAYLOAD, refuse
from dfx_backup.replica.management_call import Call, check_allocation, environment_hash
from dfx_backup.replica.state import CanisterState, Settings, Visibility

MAX_CONTROLLERS: Final = 10
MAX_VIEWERS: Final = 10
MAX_VARIABLES: Final = 20
MAX_VARIABLE_BYTES: Final = 128
_MAX_MEMORY: Final = 1 << 48
_MIN_LOG: Final = 4096
_MAX_LOG: Final = 2 << 20

# Largest value of every number, in the unit of the setting.
_NUMBERS: Final[dict[str, int]] = {
    "compute_allocation": 100,
    "memory_allocation": _MAX_MEMORY,
    "freezing_threshold": (1 << 64) - 1,
    "reserved_cycles_limit": (1 << 128) - 1,
    "minimum_incoming_canister_call_cycles": (1 << 128) - 1,
    "wasm_memory_limit": _MAX_MEMORY,
    "wasm_memory_threshold": (1 << 64) - 1,
    "log_memory_limit": _MAX_LOG,
}
_VISIBILITIES: Final = ("log_visibility", "snapshot_visibility", "status_visibility")


def parse_settings(
    given: dict[str, Any] | None, base: Settings
) -> tuple[list[bytes] | None, Settings]:
    """Check new settings and lay them over others.

    Args:
        given: a `new_settings` record; absent fields stay as they are.
        base: what they change.

    Returns:
        The controllers, or None when they stay; and all other settings.

    Raises:
        Reject: IC0408 a list is too long, IC0504 a value is out of its range.
    """
    given = given or {}
    changes: dict[str, Any] = {}
    for name, largest in _NUMBERS.items():
        value = given.get(name)
        if value is not None:
            if value > largest:
                raise _invalid(f"{name} expected to be in the range [0..{largest}], got {value}")
            changes[name] = value
    log_limit = changes.get("log_memory_limit", 0)
    if 0 < log_limit < _MIN_LOG:
        raise _invalid(f"log_memory_limit expected to be 0 or at least {_MIN_LOG}, got {log_limit}")
    for name in _VISIBILITIES:
        if given.get(name) is not None:
            changes[name] = _visibility(*given[name])
    if given.get("environment_variables") is not None:
        changes["environment_variables"] = _variables(given["environment_variables"])
    return _controllers(given.get("controllers")), replace(base, **changes)


def _invalid(text: str) -> Exception:
    return refuse(CONTRACT_VIOLATION, f"Could not validate the settings: {text}")


def _too_many(count: int, most: int) -> Exception:
    return refuse(
        INVALID_PAYLOAD,
        "Error decoding candid: Deserialize error: The number of elements exceeds maximum allowed "
        f"{most}, got {count}",
    )


def _controllers(given: list[bytes] | None) -> list[bytes] | None:
    if given is None:
        return None
    if len(given) > MAX_CONTROLLERS:
        raise _too_many(len(given), MAX_CONTROLLERS)
    return sorted(set(given))


def _visibility(kind: Any, viewers: list[bytes] | None) -> Visibility:  # noqa: ANN401  # one of three case names
    if viewers is not None and len(viewers) > MAX_VIEWERS:
        raise _too_many(len(viewers), MAX_VIEWERS)
    return Visibility(kind=kind, viewers=tuple(viewers or ()))


def _variables(given: list[dict[str, str]]) -> tuple[tuple[str, str], ...]:
    if len(given) > MAX_VARIABLES:
        raise _invalid(f"Too many environment variables: {len(given)} (max: {MAX_VARIABLES})")
    found = tuple((each["name"], each["value"]) for each in given)
    if len(dict(found)) != len(found):
        raise _invalid("Duplicate environment variables are not allowed")
    for name, value in found:
        for what, text in (("name", name), ("value", value)):
            size = len(text.encode())
            if size > MAX_VARIABLE_BYTES:
                raise _invalid(
                    f"Environment variable {what} is too long: {size} bytes "
                    f"(max: {MAX_VARIABLE_BYTES})"
                )
    return found


def describe_settings(canister: CanisterState) -> dict[str, object]:
    """Write a canister's settings as an `all_settings` record."""
    settings = canister.settings
    record: dict[str, object] = {name: getattr(settings, name) for name in _NUMBERS}
    for name in _VISIBILITIES:
        seen: Visibility = getattr(settings, name)
        viewers = list(seen.viewers) if seen.kind == "allowed_viewers" else None
        record[name] = (seen.kind, viewers)
    record["controllers"] = list(canister.controllers)
    record["environment_variables"] = [
        {"name": name, "value": value} for name, value in settings.environment_variables
    ]
    return record


def update_settings(call: Call) -> tuple[object, ...]:
    """Change a canister's settings; counts as a new version of the canister.

    Raises:
        Reject: IC0408 or IC0504 invalid settings; IC0101 or IC0531 the memory can't be had.
    """
    canister = call.canister()
    controllers, settings = parse_settings(call.args["settings"], canister.settings)
    check_allocation(call.replica, canister, settings)
    canister.settings = settings
    call.replica.bump_version(canister.canister_id)
    _trim_logs(canister)
    if controllers is not None:
        canister.controllers = controllers
        call.record(canister, "controllers_change", {"controllers": list(controllers)})
    return ()


def _trim_logs(canister: CanisterState) -> None:
    while canister.logs and canister.log_size > canister.settings.log_memory_limit:
        canister.logs.popleft()


def creation_details(controllers: list[bytes], settings: Settings) -> dict[str, object]:
    """Give the content of a history entry for a new canister."""
    variables = settings.environment_variables
    return {
        "controllers": list(controllers),
        "environment_variables_hash": environment_hash(variables) if variables else None,
    }
