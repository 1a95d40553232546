"""Who may call which management method, and how refusals read.

One table decides, for ingress filtering and for execution alike (interface specification 0.66,
"The IC management canister"). Where the specification asks for a subnet administrator, a
development replica lets everybody in: it has no administrators.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from dfx_backup.replica.principal import to_text
from dfx_backup.replica.reject import Reject
from dfx_backup.replica.state import CanisterState

OUT_OF_CYCLES: Final = 207
CANISTER_NOT_FOUND: Final = 301
SNAPSHOT_NOT_FOUND: Final = 305
INSUFFICIENT_CYCLES_FOR_CREATE: Final = 403
REJECTED: Final = 406
NOT_AVAILABLE: Final = 407
INVALID_PAYLOAD: Final = 408
SNAPSHOT_IMMUTABLE: Final = 409
CONTRACT_VIOLATION: Final = 504
INVALID_CONTROLLER: Final = 512
INSUFFICIENT_CYCLES_FOR_MEMORY: Final = 532
METHOD_NOT_FOUND: Final = 536


class Access(Enum):
    """Who may call a method."""

    ANYONE = auto()
    CANISTERS = auto()
    """Canisters only: users are refused whoever they are."""
    CONTROLLERS = auto()
    CONTROLLERS_OR_SELF = auto()
    STATUS_READERS = auto()
    SNAPSHOT_READERS = auto()
    LOG_READERS = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How a method may be called.

    Attributes:
        access: who may call it.
        query: whether users may send it as a query.
        ingress: whether users may send it as an update; canisters always may.
        target: the argument's field that names the canister it is about, None for none.
        while_frozen: whether a canister below its freezing limit takes it from users.
    """

    access: Access = Access.CONTROLLERS
    query: bool = False
    ingress: bool = True
    target: str | None = "canister_id"
    while_frozen: bool = False


RULES: Final[dict[str, Rule]] = {
    "provisional_create_canister_with_cycles": Rule(access=Access.ANYONE, target=None),
    "provisional_top_up_canister": Rule(access=Access.ANYONE, while_frozen=True),
    "create_canister": Rule(access=Access.ANYONE, target=None),
    "update_settings": Rule(while_frozen=True),
    "start_canister": Rule(),
    "stop_canister": Rule(),
    "delete_canister": Rule(),
    "deposit_cycles": Rule(access=Access.CANISTERS),
    "install_code": Rule(),
    "install_chunked_code": Rule(target="target_canister"),
    "uninstall_code": Rule(),
    "upload_chunk": Rule(access=Access.CONTROLLERS_OR_SELF),
    "stored_chunks": Rule(access=Access.CONTROLLERS_OR_SELF),
    "clear_chunk_store": Rule(access=Access.CONTROLLERS_OR_SELF),
    "canister_status": Rule(access=Access.STATUS_READERS, query=True),
    "canister_info": Rule(access=Access.ANYONE, query=True, ingress=False),
    "canister_metadata": Rule(access=Access.CANISTERS),
    "canister_metrics": Rule(query=True),
    "fetch_canister_logs": Rule(access=Access.LOG_READERS, query=True, ingress=False),
    "raw_rand": Rule(access=Access.CANISTERS, target=None),
    "list_canisters": Rule(access=Access.ANYONE, query=True, target=None, ingress=False),
    "node_metrics_history": Rule(access=Access.CANISTERS, target=None),
    "subnet_metrics": Rule(access=Access.CANISTERS, target=None),
    "subnet_info": Rule(access=Access.CANISTERS, target=None),
    "take_canister_snapshot": Rule(),
    "load_canister_snapshot": Rule(),
    "list_canister_snapshots": Rule(access=Access.SNAPSHOT_READERS),
    "delete_canister_snapshot": Rule(),
    "read_canister_snapshot_metadata": Rule(access=Access.SNAPSHOT_READERS),
    "read_canister_snapshot_data": Rule(access=Access.SNAPSHOT_READERS),
    "upload_canister_snapshot_metadata": Rule(),
    "upload_canister_snapshot_data": Rule(),
}

# Known to the interface, but they need other subnets, other nodes or threshold keys.
UNAVAILABLE: Final = frozenset(
    {
        "http_request",
        "flexible_http_request",
        "ecdsa_public_key",
        "sign_with_ecdsa",
        "schnorr_public_key",
        "sign_with_schnorr",
        "vetkd_public_key",
        "vetkd_derive_key",
        "bitcoin_get_balance",
        "bitcoin_get_utxos",
        "bitcoin_get_block_headers",
        "bitcoin_get_current_fee_percentiles",
        "bitcoin_send_transaction",
    }
)


def refuse(number: int, message: str) -> Reject:
    """Make a refusal; `number` is that of the error code, such as 406 for IC0406."""
    return Reject.from_error_code(number, message)


def not_found(canister_id: bytes) -> Reject:
    """The refusal for a canister that is not there (IC0301)."""
    return refuse(CANISTER_NOT_FOUND, f"Canister {to_text(canister_id)} not found.")


def rule_of(method: str) -> Rule:
    """Give the rule of a method.

    Raises:
        Reject: IC0407 not available on a development replica, IC0536 no such method.
    """
    if method in UNAVAILABLE:
        raise refuse(NOT_AVAILABLE, f"{method} is not available on the development replica.")
    if method not in RULES:
        raise refuse(METHOD_NOT_FOUND, f"Management canister has no method '{method}'")
    return RULES[method]


def may_call(access: Access, caller: bytes, canister: CanisterState) -> bool:
    """Tell whether a caller may call a method of this access on this canister."""
    if access in (Access.ANYONE, Access.CANISTERS) or caller in canister.controllers:
        return True
    settings = canister.settings
    match access:
        case Access.CONTROLLERS_OR_SELF:
            return caller == canister.canister_id
        case Access.STATUS_READERS:
            allowed = settings.status_visibility.allows(caller, canister.controllers)
            return allowed or caller == canister.canister_id
        case Access.SNAPSHOT_READERS:
            return settings.snapshot_visibility.allows(caller, canister.controllers)
        case Access.LOG_READERS:
            return settings.log_visibility.allows(caller, canister.controllers)
    return False


def check_access(access: Access, caller: bytes, canister: CanisterState) -> None:
    """Refuse a caller at execution.

    Raises:
        Reject: IC0512, or IC0406 for logs.
    """
    if may_call(access, caller, canister):
        return
    if access is Access.LOG_READERS:
        text = f"Caller {to_text(caller)} is not allowed to access canister logs"
        raise refuse(REJECTED, text)
    if access is Access.SNAPSHOT_READERS:
        name = to_text(canister.canister_id)
        text = f"Caller {to_text(caller)} is not allowed to read the snapshots of canister {name}"
        raise refuse(INVALID_CONTROLLER, text)
    raise only_controllers(caller, canister)


def only_controllers(caller: bytes, canister: CanisterState) -> Reject:
    """The refusal for whoever is not a controller (IC0512)."""
    names = ", ".join(to_text(controller) for controller in canister.controllers)
    return refuse(
        INVALID_CONTROLLER,
        f"Only the controllers of the canister {to_text(canister.canister_id)} can control it.\n"
        f"Canister's controllers: {names}\nSender's ID: {to_text(caller)}",
    )
