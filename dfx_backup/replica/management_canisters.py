"""Life of a canister: create, pay, start, stop, delete, and its code."""

from typing import Any, Final

from dfx_backup.replica.chunk_store import assemble
from dfx_backup.replica.management_access import (
    INSUFFICIENT_CYCLES_FOR_CREATE,
    REJECTED,
    refuse,
)
from dfx_backup.replica.management_call import LATER, Call, Handler, _Later
from dfx_backup.replica.management_settings import (
    creation_details,
    parse_settings,
    update_settings,
)
from dfx_backup.replica.principal import to_text
from dfx_backup.replica.state import DEFAULT_CYCLES, Settings

# For creating a canister on a subnet of 13 nodes.
CREATION_FEE: Final = 500_000_000_000


def create(
    call: Call, *, cycles: int, specified_id: bytes | None = None
) -> tuple[dict[str, bytes]]:
    """Create a canister with the settings of the call, owned by the caller unless they say else.

    Raises:
        Reject: IC0205 the id is taken, IC0408 or IC0504 the settings are invalid.
    """
    controllers, settings = parse_settings(call.args["settings"], Settings())
    if specified_id is not None and specified_id in call.replica.canisters:
        raise refuse(205, f"Canister ID {to_text(specified_id)} already exists.")
    owners = [call.caller] if controllers is None else controllers
    canister_id = call.replica.create_canister(
        controllers=owners, cycles=cycles, specified_id=specified_id, settings=settings
    )
    canister = call.replica.canister(canister_id)
    call.record(canister, "creation", creation_details(owners, settings))
    return ({"canister_id": canister_id},)


def provisional_create(call: Call) -> tuple[object, ...]:
    """Create a canister with cycles from nowhere, and an id of one's choice if wanted."""
    amount = call.args["amount"]
    cycles = DEFAULT_CYCLES if amount is None else amount
    return create(call, cycles=cycles, specified_id=call.args["specified_id"])


def create_canister(call: Call) -> tuple[object, ...]:
    """Create a canister with the cycles that a canister attached.

    Users reach this through the subnet's own endpoint; their canisters get the default amount. The
    creation fee is only asked for when the replica charges cycles.
    """
    if call.caller not in call.replica.canisters:
        return create(call, cycles=DEFAULT_CYCLES)
    fee = CREATION_FEE if call.replica.charge_cycles else 0
    if call.cycles < fee:
        raise refuse(
            INSUFFICIENT_CYCLES_FOR_CREATE,
            f"Creating a canister requires a fee of {fee} that is deducted from the canister's "
            f"initial balance but only {call.cycles} cycles were received with the "
            "create_canister request.",
        )
    created = create(call, cycles=call.cycles - fee)
    call.cycles = 0
    return created


def top_up(call: Call) -> tuple[object, ...]:
    """Give a canister cycles from nowhere."""
    call.canister().cycles += call.args["amount"]
    return ()


def deposit_cycles(call: Call) -> tuple[object, ...]:
    """Give a canister the attached cycles."""
    call.canister().cycles += call.cycles
    call.cycles = 0
    return ()


def start_canister(call: Call) -> tuple[object, ...]:
    """Make a canister running; whoever waits for it to stop is told so (IC0511)."""
    call.replica.start(call.canister().canister_id)
    return ()


def stop_canister(call: Call) -> _Later:
    """Begin to stop a canister; the answer comes when its call contexts are closed."""
    call.replica.stop(call.canister().canister_id, call.respond)
    return LATER


def delete_canister(call: Call) -> tuple[object, ...]:
    """Delete a stopped canister, with its snapshots and cycles.

    Raises:
        Reject: IC0406 it is the caller itself, IC0510 it is not stopped.
    """
    canister = call.canister()
    if canister.canister_id == call.caller:
        raise refuse(REJECTED, f"Canister {to_text(call.caller)} cannot delete itself.")
    call.replica.delete(canister.canister_id)
    return ()


def install(call: Call, canister_id: bytes, module: bytes) -> tuple[object, ...]:
    """Install a module as the call's `mode` and `arg` say.

    Raises:
        Reject: see `Replica.install`.
    """
    mode, options = call.args["mode"]
    options = options or {}
    persistence: tuple[Any, None] | None = options.get("wasm_memory_persistence")
    call.replica.install(
        canister_id,
        module,
        call.args["arg"],
        mode,
        sender=call.caller,
        skip_pre_upgrade=bool(options.get("skip_pre_upgrade")),
        wasm_memory_persistence=persistence[0] if persistence else None,
    )
    canister = call.replica.canister(canister_id)
    installed = canister.module
    if installed is not None:
        call.record(canister, "code_deployment", {"mode": mode, "module_hash": installed.sha256})
    return ()


def install_code(call: Call) -> tuple[object, ...]:
    """Install, reinstall or upgrade from a module in the message."""
    return install(call, call.canister().canister_id, call.args["wasm_module"])


def install_chunked_code(call: Call) -> tuple[object, ...]:
    """Install, reinstall or upgrade from a chunk store."""
    target = call.canister("target_canister").canister_id
    return install(call, target, assemble(call))


def uninstall_code(call: Call) -> tuple[object, ...]:
    """Remove a canister's code and state."""
    canister = call.canister()
    call.replica.uninstall(canister.canister_id)
    call.record(canister, "code_uninstall", {})
    return ()


HANDLERS: Final[dict[str, Handler]] = {
    "provisional_create_canister_with_cycles": provisional_create,
    "provisional_top_up_canister": top_up,
    "create_canister": create_canister,
    "update_settings": update_settings,
    "start_canister": start_canister,
    "stop_canister": stop_canister,
    "delete_canister": delete_canister,
    "deposit_cycles": deposit_cycles,
    "install_code": install_code,
    "install_chunked_code": install_chunked_code,
    "uninstall_code": uninstall_code,
}
