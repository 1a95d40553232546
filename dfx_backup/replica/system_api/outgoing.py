"""Calls to other canisters."""

from dfx_backup.replica.system_api.frame import Frame, OutgoingCall, Trap

# ruff: noqa: D103 - the functions are specified under their names in the interface specification

MAX_PAYLOAD = 10 << 20
MAX_OUTSTANDING = 500
"""Calls in flight between two canisters (queue capacity)."""
MAX_TIMEOUT_S = 300
_SYS_TRANSIENT = 2


def call_new(  # noqa: PLR0913, PLR0917 - the shape of the system API
    frame: Frame,
    callee: int,
    callee_size: int,
    name: int,
    name_size: int,
    reply_function: int,
    reply_environment: int,
    reject_function: int,
    reject_environment: int,
) -> None:
    _drop(frame)
    frame.call = OutgoingCall(
        callee=frame.memory.read(callee, callee_size),
        method=frame.text(name, name_size),
        reply=(reply_function, reply_environment),
        reject=(reject_function, reject_environment),
    )


def call_on_cleanup(frame: Frame, function: int, environment: int) -> None:
    call = _current(frame)
    if call.cleanup is not None:
        raise Trap("call_on_cleanup: cleanup is already set", 504)
    call.cleanup = (function, environment)


def call_data_append(frame: Frame, start: int, size: int) -> None:
    call = _current(frame)
    total = len(call.arg) + size
    if total > MAX_PAYLOAD:
        raise Trap(f"inter-canister payload ({total}) cannot be larger than {MAX_PAYLOAD}", 504)
    call.arg += frame.memory.read(start, size)


def call_with_best_effort_response(frame: Frame, timeout_s: int) -> None:
    call = _current(frame)
    if call.timeout_s is not None:
        raise Trap("call_with_best_effort_response: a timeout is already set", 504)
    call.timeout_s = min(timeout_s, MAX_TIMEOUT_S)


def call_cycles_add128(frame: Frame, high: int, low: int) -> None:
    call = _current(frame)
    amount = high << 64 | low
    if amount > frame.balance:
        raise Trap(f"call_cycles_add: {amount} cycles are more than the balance", 530)
    frame.balance -= amount
    call.cycles += amount


def call_cycles_add(frame: Frame, amount: int) -> None:
    call_cycles_add128(frame, 0, amount)


def call_perform(frame: Frame) -> int:
    call = _current(frame)
    waiting = sum(each.callee == call.callee for each in frame.canister.callbacks.values())
    waiting += sum(each.callee == call.callee for each in frame.calls)
    if waiting >= MAX_OUTSTANDING or frame.balance < _reserve(frame):
        _drop(frame)
        return _SYS_TRANSIENT
    frame.calls.append(call)
    frame.call = None
    return 0


def _current(frame: Frame) -> OutgoingCall:
    if frame.call is None:
        raise Trap("there is no call under construction", 504)
    return frame.call


def _drop(frame: Frame) -> None:
    """A call that was begun and never performed gives its cycles back."""
    if frame.call is not None:
        frame.balance += frame.call.cycles
        frame.call = None


def _reserve(frame: Frame) -> int:
    """A call must leave the canister above its freezing limit."""
    return frame.canister.freezing_limit if frame.is_replicated else 0
