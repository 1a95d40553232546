"""Switches that make the replica fail on purpose: plain data, settable in process and as JSON.

`injector` decides with them, request by request, what goes wrong.

Counts: a switch that says "the next N" counts down to 0 and is then off; -1 never runs out.
Methods are canister or management method names, such as "stop_canister"; "*" stands for every one.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final, Literal, Self

from dfx_backup.errors import UsageError

__all__ = ["ANY_METHOD", "Delay", "Faults", "RejectFault", "RequestKind"]

RequestKind = Literal["status", "call", "query", "read_state"]

ANY_METHOD: Final = "*"
_KINDS: Final = ("status", "call", "query", "read_state")


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectFault:
    """Calls of a method are rejected instead of executed.

    Attributes:
        reject_code: 1 to 6.
        error_code: such as "IC0210" (heap delta) or "IC0207" (out of cycles).
        message: text of the reject.
        times: how many calls; -1 all.
        skip: how many calls go through first.
        certified: the reject is certified; otherwise it is a non-replicated rejection.
    """

    reject_code: int = 2
    error_code: str = "IC0210"
    message: str = "rejected by a fault switch"
    times: int = 1
    skip: int = 0
    certified: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """The answer to a call is lost, and the call executes only later.

    The connection is closed at once without an answer. Until it executes, the call is unknown to
    read_state, and sending it again is answered 202. It never executes after its ingress expiry.

    Attributes:
        seconds: how much later.
        times: how many calls; -1 all.
        skip: how many calls go through first.
    """

    seconds: float
    times: int = 1
    skip: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """All switches; the defaults are a replica without faults.

    Attributes:
        seed: of the random generator; setting it starts the sequence anew.
        latency_status_s, latency_call_s, latency_query_s, latency_read_state_s: seconds that a
            request of this kind waits before it is looked at.
        latency_by_method_s: seconds that a call or query of a method waits before it executes.
        latency_jitter_s: up to so many seconds more for every request, evenly distributed.
        max_calls_in_flight: calls beyond so many at a time get 429; None for no cap.
        affected_kinds: request kinds that the switches from here to `truncate_next` apply to.
        http_error_next: the next N requests get `http_error_status`.
        http_error_rate: the part of all requests, 0 to 1, that gets `http_error_status`.
        http_error_status: HTTP status, 400 to 599.
        too_many_requests_next: the next N requests get 429.
        too_many_requests_rate: the same for a part of all requests, 0 to 1.
        drop_before_next: the next N connections are closed before anything is executed.
        drop_before_rate: the same for a part of all requests, 0 to 1.
        drop_after_next: the next N connections are closed after execution, without an answer.
        drop_after_rate: the same for a part of all requests, 0 to 1.
        hang_next: the next N requests are neither executed nor answered for `hang_s`; then the
            connection is closed.
        hang_s: seconds.
        truncate_next: the next N answers end in the middle of the body.
        lost_reply: by method, the next N calls execute but the connection is closed instead.
        delayed_execution: by method, see `Delay`.
        reject: by method, see `RejectFault`.
        always_202: calls are never answered with a certificate; clients have to poll.
        processing_s: seconds after its execution for which a call still reads as "processing";
            meant for polling, so use it with `always_202`.
        prune_replies: finished calls read as "done", without their reply.
        stale_time_s: seconds that certificates and query signatures lie in the past.
        bad_signature_next: the next N certificates carry a signature over something else.
        bad_query_signature_next: the next N query replies carry a signature over something else.
        wrong_subnet_next: the next N certificates come from a subnet of the same network that does
            not hold the canister.
        corrupt_chunk_next: the next N replies of read_canister_snapshot_data have one bit of the
            chunk flipped, correctly certified.
        corrupt_chunk_skip: how many of these replies stay whole first.
    """

    seed: int = 0
    latency_status_s: float = 0.0
    latency_call_s: float = 0.0
    latency_query_s: float = 0.0
    latency_read_state_s: float = 0.0
    latency_by_method_s: Mapping[str, float] = field(default_factory=dict)
    latency_jitter_s: float = 0.0
    max_calls_in_flight: int | None = None
    affected_kinds: tuple[RequestKind, ...] = ("call", "query", "read_state")
    http_error_next: int = 0
    http_error_rate: float = 0.0
    http_error_status: int = 503
    too_many_requests_next: int = 0
    too_many_requests_rate: float = 0.0
    drop_before_next: int = 0
    drop_before_rate: float = 0.0
    drop_after_next: int = 0
    drop_after_rate: float = 0.0
    hang_next: int = 0
    hang_s: float = 60.0
    truncate_next: int = 0
    lost_reply: Mapping[str, int] = field(default_factory=dict)
    delayed_execution: Mapping[str, Delay] = field(default_factory=dict)
    reject: Mapping[str, RejectFault] = field(default_factory=dict)
    always_202: bool = False
    processing_s: float = 0.0
    prune_replies: bool = False
    stale_time_s: float = 0.0
    bad_signature_next: int = 0
    bad_query_signature_next: int = 0
    wrong_subnet_next: int = 0
    corrupt_chunk_next: int = 0
    corrupt_chunk_skip: int = 0

    def to_json(self) -> dict[str, Any]:
        """The switches as JSON has them."""
        return asdict(self)

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """These switches with some of them changed.

        Args:
            changes: JSON, by field name; what is not named stays as it is.

        Raises:
            UsageError: unknown field, or a value that does not fit it.
        """
        known = {item.name: getattr(_DEFAULTS, item.name) for item in fields(self)}
        values: dict[str, Any] = {}
        for name, value in changes.items():
            if name not in known:
                raise UsageError(
                    f"There is no fault switch {name!r}", hint=f"There are: {', '.join(known)}"
                )
            values[name] = _parse(name, known[name], value)
        return replace(self, **values)


def _parse(name: str, default: object, value: Any) -> object:  # noqa: ANN401 - decoded JSON
    if name in _SPECIAL:
        return _SPECIAL[name](name, value)
    if isinstance(default, bool):
        return _checked(name, value, isinstance(value, bool), "true or false")
    if isinstance(default, int):
        return _integer(name, value)
    return _number(name, value, highest=1.0 if name.endswith("_rate") else None)


def _checked(name: str, value: Any, fits: bool, wanted: str) -> Any:  # noqa: ANN401, FBT001 - JSON
    if not fits:
        raise UsageError(f"Fault switch {name!r} takes {wanted}, not {value!r}")
    return value


def _integer(name: str, value: Any) -> int:  # noqa: ANN401 - decoded JSON
    fits = isinstance(value, int) and not isinstance(value, bool) and value >= -1
    return int(_checked(name, value, fits, "a whole number, or -1 for no end"))


def _number(name: str, value: Any, *, highest: float | None = None) -> float:  # noqa: ANN401 - JSON
    fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    fits = fits and value >= 0 and (highest is None or value <= highest)
    upper = "" if highest is None else f" of at most {highest:g}"
    return float(_checked(name, value, fits, f"a number{upper}, not below 0"))


def _optional_integer(name: str, value: Any) -> int | None:  # noqa: ANN401 - decoded JSON
    return None if value is None else _integer(name, value)


def _kinds(name: str, value: Any) -> tuple[RequestKind, ...]:  # noqa: ANN401 - decoded JSON
    fits = isinstance(value, (list, tuple)) and all(kind in _KINDS for kind in value)
    return tuple(_checked(name, value, fits, f"a list of {', '.join(_KINDS)}"))


def _by_method(parse: Callable[[str, Any], object]) -> Callable[[str, Any], object]:
    def parse_map(name: str, value: Any) -> dict[str, object]:  # noqa: ANN401 - decoded JSON
        fits = isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
        methods = _checked(name, value, fits, "an object by method name")
        return {method: parse(f"{name}.{method}", item) for method, item in methods.items()}

    return parse_map


def _delay(name: str, value: Any) -> Delay:  # noqa: ANN401 - decoded JSON
    if isinstance(value, Delay):
        return value
    content = _record(name, value, {"seconds", "times", "skip"})
    if "seconds" not in content:
        raise UsageError(f"Fault switch {name!r} needs 'seconds'")
    return Delay(
        seconds=_number(f"{name}.seconds", content["seconds"]),
        times=_integer(f"{name}.times", content.get("times", 1)),
        skip=_integer(f"{name}.skip", content.get("skip", 0)),
    )


def _reject(name: str, value: Any) -> RejectFault:  # noqa: ANN401 - decoded JSON
    if isinstance(value, RejectFault):
        return value
    content = _record(name, value, {item.name for item in fields(RejectFault)})
    given: dict[str, Any] = {}
    for key, item in content.items():
        if key in {"error_code", "message"}:
            given[key] = _checked(f"{name}.{key}", item, isinstance(item, str), "text")
        elif key == "certified":
            given[key] = _checked(f"{name}.{key}", item, isinstance(item, bool), "true or false")
        else:
            given[key] = _integer(f"{name}.{key}", item)
    fault = RejectFault(**given)
    _checked(f"{name}.reject_code", fault.reject_code, 1 <= fault.reject_code <= 6, "1 to 6")
    return fault


def _record(name: str, value: Any, known: set[str]) -> Mapping[str, Any]:  # noqa: ANN401 - JSON
    content = _checked(name, value, isinstance(value, Mapping), "an object")
    unknown = sorted(set(content) - known)
    if unknown:
        raise UsageError(f"Fault switch {name!r} has no field {unknown[0]!r}")
    result: Mapping[str, Any] = content
    return result


def _error_status(name: str, value: Any) -> int:  # noqa: ANN401 - decoded JSON
    status = _integer(name, value)
    return int(_checked(name, status, 400 <= status <= 599, "an HTTP status from 400 to 599"))


_SPECIAL: Final[Mapping[str, Callable[[str, Any], object]]] = {
    "max_calls_in_flight": _optional_integer,
    "affected_kinds": _kinds,
    "http_error_status": _error_status,
    "latency_by_method_s": _by_method(_number),
    "lost_reply": _by_method(_integer),
    "delayed_execution": _by_method(_delay),
    "reject": _by_method(_reject),
}
_DEFAULTS: Final = Faults()
