"""Names, types and availability of the system API as data (interface specification 0.66)."""

from dataclasses import dataclass
from enum import Enum


class Mode(Enum):
    """In what kind of message a canister runs; the comment gives the specification's letter."""

    INIT = "init"  # I, also post_upgrade
    PRE_UPGRADE = "pre-upgrade"  # G
    UPDATE = "update"  # U
    REPLICATED_QUERY = "replicated query"  # RQ
    QUERY = "non-replicated query"  # NRQ
    COMPOSITE = "composite query"  # CQ
    REPLY = "reply callback"  # Ry
    REJECT = "reject callback"  # Rt
    COMPOSITE_REPLY = "composite reply callback"  # CRy
    COMPOSITE_REJECT = "composite reject callback"  # CRt
    CLEANUP = "cleanup"  # C
    COMPOSITE_CLEANUP = "composite cleanup"  # CC
    START = "start"  # s
    INSPECT = "inspect message"  # F
    TASK = "system task"  # T, heartbeat, timer and low memory hook


_LETTERS = {
    "I": Mode.INIT,
    "G": Mode.PRE_UPGRADE,
    "U": Mode.UPDATE,
    "RQ": Mode.REPLICATED_QUERY,
    "NRQ": Mode.QUERY,
    "CQ": Mode.COMPOSITE,
    "Ry": Mode.REPLY,
    "Rt": Mode.REJECT,
    "CRy": Mode.COMPOSITE_REPLY,
    "CRt": Mode.COMPOSITE_REJECT,
    "C": Mode.CLEANUP,
    "CC": Mode.COMPOSITE_CLEANUP,
    "s": Mode.START,
    "F": Mode.INSPECT,
    "T": Mode.TASK,
}

# name | parameters | result | modes. i = i32, I = i64, p = pointer-sized; * = all modes but s.
# A leading "32 " marks what only modules with 32-bit memories may import.
_TABLE = """
msg_arg_data_size |  | p | I U RQ NRQ CQ Ry CRy F
msg_arg_data_copy | ppp |  | I U RQ NRQ CQ Ry CRy F
msg_caller_size |  | p | *
msg_caller_copy | ppp |  | *
msg_caller_info_data_size |  | p | U RQ NRQ CQ Ry Rt CRy CRt C CC F
msg_caller_info_data_copy | ppp |  | U RQ NRQ CQ Ry Rt CRy CRt C CC F
msg_caller_info_signer_size |  | p | U RQ NRQ CQ Ry Rt CRy CRt C CC F
msg_caller_info_signer_copy | ppp |  | U RQ NRQ CQ Ry Rt CRy CRt C CC F
msg_reject_code |  | i | Ry Rt CRy CRt C CC
msg_reject_msg_size |  | p | Rt CRt
msg_reject_msg_copy | ppp |  | Rt CRt
msg_deadline |  | I | U RQ NRQ CQ Ry Rt CRy CRt
msg_reply_data_append | pp |  | U RQ NRQ CQ Ry Rt CRy CRt
msg_reply |  |  | U RQ NRQ CQ Ry Rt CRy CRt
msg_reject | pp |  | U RQ NRQ CQ Ry Rt CRy CRt
msg_cycles_available128 | p |  | U RQ Rt Ry
msg_cycles_accept128 | IIp |  | U RQ Rt Ry
msg_cycles_refunded128 | p |  | Rt Ry
32 msg_cycles_available |  | I | U RQ Rt Ry
32 msg_cycles_accept | I | I | U RQ Rt Ry
32 msg_cycles_refunded |  | I | Rt Ry
cycles_burn128 | IIp |  | I G U RQ Ry Rt C T
canister_self_size |  | p | *
canister_self_copy | ppp |  | *
subnet_self_size |  | p | *
subnet_self_copy | ppp |  | *
canister_cycle_balance128 | p |  | *
canister_liquid_cycle_balance128 | p |  | *
32 canister_cycle_balance |  | I | *
canister_status |  | i | *
canister_version |  | I | *
msg_method_name_size |  | p | F
msg_method_name_copy | ppp |  | F
accept_message |  |  | F
call_new | pppppppp |  | U CQ Ry Rt CRy CRt T
call_on_cleanup | pp |  | U CQ Ry Rt CRy CRt T
call_data_append | pp |  | U CQ Ry Rt CRy CRt T
call_with_best_effort_response | i |  | U CQ Ry Rt CRy CRt T
call_cycles_add128 | II |  | U Ry Rt T
32 call_cycles_add | I |  | U Ry Rt T
call_perform |  | i | U CQ Ry Rt CRy CRt T
stable64_size |  | I | * s
stable64_grow | I | I | * s
stable64_write | III |  | * s
stable64_read | III |  | * s
32 stable_size |  | i | * s
32 stable_grow | i | i | * s
32 stable_write | iii |  | * s
32 stable_read | iii |  | * s
root_key_size |  | p | I G U RQ Ry Rt C T
root_key_copy | ppp |  | I G U RQ Ry Rt C T
certified_data_set | pp |  | I G U Ry Rt T
data_certificate_present |  | i | *
data_certificate_size |  | p | NRQ CQ
data_certificate_copy | ppp |  | NRQ CQ
time |  | I | *
global_timer_set | I | I | I G U Ry Rt C T
performance_counter | i | I | * s
is_controller | pp | i | * s
in_replicated_execution |  | i | * s
cost_call | IIp |  | * s
cost_create_canister | p |  | * s
cost_http_request | IIp |  | * s
cost_sign_with_ecdsa | ppip | i | * s
cost_sign_with_schnorr | ppip | i | * s
cost_vetkd_derive_key | ppip | i | * s
env_var_count |  | p | *
env_var_name_size | p | p | *
env_var_name_copy | pppp |  | *
env_var_name_exists | pp | i | *
env_var_value_size | pp | p | *
env_var_value_copy | ppppp |  | *
debug_print | pp |  | * s
trap | pp |  | * s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Type and availability of one function; types as in `functions_for`, "p" for pointers."""

    parameters: str
    result: str
    modes: frozenset[Mode]
    is_32_only: bool


def _parse() -> dict[str, Signature]:
    signatures: dict[str, Signature] = {}
    for line in _TABLE.strip().splitlines():
        name, parameters, result, letters = (cell.strip() for cell in line.split("|"))
        modes: set[Mode] = set()
        for letter in letters.split():
            modes |= set(Mode) - {Mode.START} if letter == "*" else {_LETTERS[letter]}
        signatures[name.removeprefix("32 ")] = Signature(
            parameters=parameters,
            result=result,
            modes=frozenset(modes),
            is_32_only=name.startswith("32 "),
        )
    return signatures


SIGNATURES = _parse()
