"""Cycles: balances, what calls bring and take, and what things would cost."""

from dfx_backup.replica.system_api.frame import U64, Frame, Trap

# ruff: noqa: D103 - the functions are specified under their names in the interface specification

# Fees of a 13-node application subnet, in cycles (cycle costs, 2026).
_CALL_FEE = 260_000
_BYTE_FEE = 1_000
_EXECUTION_FEE = 5_000_000
_MAX_INSTRUCTIONS = 40_000_000_000
_MAX_RESPONSE = 2 << 20
_CREATE_FEE = 500_000_000_000
_HTTP_FEE = 49_140_000
_HTTP_REQUEST_BYTE_FEE = 5_200
_HTTP_RESPONSE_BYTE_FEE = 10_400
_THRESHOLD_KEY_FEE = 26_153_846_153
_LARGEST_KIND = {"ecdsa": 0, "schnorr": 1, "vetkd": 0}


def msg_cycles_available128(frame: Frame, target: int) -> None:
    frame.put_u128(target, frame.available)


def msg_cycles_accept128(frame: Frame, high: int, low: int, target: int) -> None:
    frame.put_u128(target, _accept(frame, high << 64 | low))


def msg_cycles_refunded128(frame: Frame, target: int) -> None:
    frame.put_u128(target, frame.refunded)


def msg_cycles_available(frame: Frame) -> int:
    return _in_64_bits(frame.available)


def msg_cycles_accept(frame: Frame, amount: int) -> int:
    return _accept(frame, amount)


def msg_cycles_refunded(frame: Frame) -> int:
    return _in_64_bits(frame.refunded)


def cycles_burn128(frame: Frame, high: int, low: int, target: int) -> None:
    amount = min(high << 64 | low, _liquid(frame))
    frame.balance -= amount
    frame.burned += amount
    frame.put_u128(target, amount)


def canister_cycle_balance128(frame: Frame, target: int) -> None:
    frame.put_u128(target, frame.balance)


def canister_liquid_cycle_balance128(frame: Frame, target: int) -> None:
    frame.put_u128(target, _liquid(frame))


def canister_cycle_balance(frame: Frame) -> int:
    return _in_64_bits(frame.balance)


def cost_call(frame: Frame, method_size: int, payload_size: int, target: int) -> None:
    sent = _CALL_FEE + _BYTE_FEE * (method_size + payload_size)
    reserved = _CALL_FEE + _BYTE_FEE * _MAX_RESPONSE + _EXECUTION_FEE + _MAX_INSTRUCTIONS
    frame.put_u128(target, sent + reserved)


def cost_create_canister(frame: Frame, target: int) -> None:
    frame.put_u128(target, _CREATE_FEE)


def cost_http_request(frame: Frame, request_size: int, max_size: int, target: int) -> None:
    frame.put_u128(
        target,
        _HTTP_FEE + _HTTP_REQUEST_BYTE_FEE * request_size + _HTTP_RESPONSE_BYTE_FEE * max_size,
    )


def cost_sign_with_ecdsa(frame: Frame, start: int, size: int, kind: int, target: int) -> int:
    return _threshold_key(frame, start, size, kind > _LARGEST_KIND["ecdsa"], target)


def cost_sign_with_schnorr(frame: Frame, start: int, size: int, kind: int, target: int) -> int:
    return _threshold_key(frame, start, size, kind > _LARGEST_KIND["schnorr"], target)


def cost_vetkd_derive_key(frame: Frame, start: int, size: int, kind: int, target: int) -> int:
    return _threshold_key(frame, start, size, kind > _LARGEST_KIND["vetkd"], target)


def _threshold_key(frame: Frame, start: int, size: int, is_unknown: int, target: int) -> int:
    frame.text(start, size)
    if is_unknown:
        return 1  # invalid curve or algorithm
    frame.put_u128(target, _THRESHOLD_KEY_FEE)
    return 0


def _accept(frame: Frame, amount: int) -> int:
    accepted = min(amount, frame.available)
    frame.available -= accepted
    frame.balance += accepted
    return accepted


def _liquid(frame: Frame) -> int:
    return max(0, frame.balance - frame.canister.freezing_limit)


def _in_64_bits(value: int) -> int:
    if value > U64:
        raise Trap("the amount of cycles does not fit 64 bits", 504)
    return value
