"""Decides, request by request, what goes wrong, and counts what the replica saw and did.

Random decisions come from a seeded generator, so a run can be repeated.
"""

import random
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from dfx_backup.replica.faults import ANY_METHOD, Delay, Faults, RejectFault, RequestKind

__all__ = ["Counters", "FaultInjector"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What the replica saw and did since the start or the last reset.

    Attributes:
        requests: HTTP requests by kind; "other" is everything that is no endpoint.
        calls: accepted call requests by method, before any reject fault.
        queries: queries by method.
        executed: calls executed, by method.
        responses: answers by HTTP status; "dropped" are connections closed without one.
        injected: by name of the switch, how often it took effect.
        in_flight: requests being served now.
        max_in_flight: the most at a time, over all kinds.
        max_calls_in_flight: the most calls at a time.
        bytes_in, bytes_out: bytes of HTTP bodies.
    """

    requests: Mapping[str, int]
    calls: Mapping[str, int]
    queries: Mapping[str, int]
    executed: Mapping[str, int]
    responses: Mapping[str, int]
    injected: Mapping[str, int]
    in_flight: int
    max_in_flight: int
    max_calls_in_flight: int
    bytes_in: int
    bytes_out: int

    def to_json(self) -> dict[str, Any]:
        """The counters as JSON has them."""
        return asdict(self)


class FaultInjector:
    """Holds the switches of one replica, decides what goes wrong, and counts.

    All methods may be called from several threads.
    """

    def __init__(self, faults: Faults | None = None) -> None:
        self._lock = threading.Lock()
        self._faults = faults or Faults()
        self._random = random.Random(self._faults.seed)  # noqa: S311 - repeatable on purpose
        self._counts: dict[str, Counter[str]] = {}
        self._in_flight = 0
        self._calls_in_flight = 0
        self._max_in_flight = 0
        self._max_calls_in_flight = 0
        self._bytes_in = 0
        self._bytes_out = 0

    @property
    def current(self) -> Faults:
        """The switches as they are now; counts that ran down show it."""
        with self._lock:
            return self._faults

    def set(self, **changes: Any) -> Faults:  # noqa: ANN401 - checked by `Faults.changed`
        """Change some switches; see `Faults` for names and units.

        Raises:
            UsageError: unknown switch, or a value that does not fit it.
        """
        with self._lock:
            self._faults = self._faults.changed(changes)
            if "seed" in changes:
                self._random = random.Random(self._faults.seed)  # noqa: S311 - repeatable
            return self._faults

    def reset(self) -> None:
        """Switch everything off; counters stay."""
        with self._lock:
            self._faults = Faults()
            self._random = random.Random(0)  # noqa: S311 - repeatable on purpose

    def counters(self) -> Counters:
        """A copy of the counters."""
        with self._lock:
            names = ("requests", "calls", "queries", "executed", "responses", "injected")
            counts = {name: dict(self._counts.get(name, {})) for name in names}
            return Counters(
                requests=counts["requests"],
                calls=counts["calls"],
                queries=counts["queries"],
                executed=counts["executed"],
                responses=counts["responses"],
                injected=counts["injected"],
                in_flight=self._in_flight,
                max_in_flight=self._max_in_flight,
                max_calls_in_flight=self._max_calls_in_flight,
                bytes_in=self._bytes_in,
                bytes_out=self._bytes_out,
            )

    def reset_counters(self) -> None:
        """Set the counters to zero, except what is in flight now."""
        with self._lock:
            self._counts = {}
            self._max_in_flight = self._in_flight
            self._max_calls_in_flight = self._calls_in_flight
            self._bytes_in = self._bytes_out = 0

    # What the edge reports

    def enter(self, kind: str, size: int) -> int:
        """A request begins; returns how many calls are in flight now, with this one."""
        with self._lock:
            self._note("requests", kind)
            self._bytes_in += size
            self._in_flight += 1
            self._max_in_flight = max(self._max_in_flight, self._in_flight)
            if kind == "call":
                self._calls_in_flight += 1
                self._max_calls_in_flight = max(self._max_calls_in_flight, self._calls_in_flight)
            return self._calls_in_flight

    def leave(self, kind: str, status: str, size: int) -> None:
        """A request ends with an HTTP status, or "dropped"."""
        with self._lock:
            self._note("responses", status)
            self._bytes_out += size
            self._in_flight -= 1
            if kind == "call":
                self._calls_in_flight -= 1

    def note(self, counter: Literal["calls", "queries", "executed"], method: str) -> None:
        """Count a call, a query or an execution."""
        with self._lock:
            self._note(counter, method)

    def _note(self, counter: str, name: str) -> None:
        self._counts.setdefault(counter, Counter())[name] += 1

    # What the edge asks; a "yes" counts as injected

    def latency_s(self, kind: RequestKind) -> float:
        """Seconds that a request waits before it is looked at."""
        with self._lock:
            latency: float = getattr(self._faults, f"latency_{kind}_s")
            jitter = self._faults.latency_jitter_s
            seconds = latency + (self._random.uniform(0, jitter) if jitter else 0.0)
            if seconds:
                self._note("injected", "latency")
            return seconds

    def method_latency_s(self, method: str) -> float:
        """Seconds that a call or query of this method waits before it executes."""
        with self._lock:
            table = self._faults.latency_by_method_s
            seconds = table.get(method, table.get(ANY_METHOD, 0.0))
            if seconds:
                self._note("injected", "latency_by_method_s")
            return seconds

    def over_cap(self, calls_in_flight: int) -> bool:
        """Whether this call is one too many at a time."""
        with self._lock:
            cap = self._faults.max_calls_in_flight
            if cap is None or calls_in_flight <= cap:
                return False
            self._note("injected", "max_calls_in_flight")
            return True

    def strikes(self, switch: str, kind: RequestKind | None = None) -> bool:
        """Whether a switch takes effect now.

        Args:
            switch: name without `_next` and `_rate`, such as "http_error"; or the full name of a
                true-or-false switch.
            kind: when given, the switch applies to `affected_kinds` only.
        """
        with self._lock:
            if kind is not None and kind not in self._faults.affected_kinds:
                return False
            return self._take_next(f"{switch}_next", switch) or self._take_rate(switch)

    def _take_next(self, name: str, switch: str) -> bool:
        left: int = getattr(self._faults, name)
        if left == 0:
            return False
        if left > 0:
            self._change(name, left - 1)
        self._note("injected", switch)
        return True

    def _take_rate(self, switch: str) -> bool:
        rate: float = getattr(self._faults, f"{switch}_rate", 0.0)
        if not rate or self._random.random() >= rate:
            return False
        self._note("injected", switch)
        return True

    def corrupts_chunk(self) -> bool:
        """Whether this reply of read_canister_snapshot_data is to be corrupted."""
        with self._lock:
            if self._faults.corrupt_chunk_next and self._faults.corrupt_chunk_skip > 0:
                self._change("corrupt_chunk_skip", self._faults.corrupt_chunk_skip - 1)
                return False
            return self._take_next("corrupt_chunk_next", "corrupt_chunk")

    def loses_reply(self, method: str) -> bool:
        """Whether the answer to this call is lost after its execution."""
        with self._lock:
            table = self._faults.lost_reply
            name = method if method in table else ANY_METHOD
            left = table.get(name, 0)
            if left == 0:
                return False
            self._change("lost_reply", {**table, name: left - 1 if left > 0 else left})
            self._note("injected", "lost_reply")
            return True

    def delay(self, method: str) -> Delay | None:
        """The delay that this call gets."""
        with self._lock:
            fault = self._take("delayed_execution", self._faults.delayed_execution, method)
            return fault if isinstance(fault, Delay) else None

    def rejection(self, method: str) -> RejectFault | None:
        """The reject that this call gets instead of being executed."""
        with self._lock:
            fault = self._take("reject", self._faults.reject, method)
            return fault if isinstance(fault, RejectFault) else None

    def _take(
        self, switch: str, table: Mapping[str, Delay] | Mapping[str, RejectFault], method: str
    ) -> Delay | RejectFault | None:
        name = method if method in table else ANY_METHOD
        fault = table.get(name)
        if fault is None or fault.times == 0:
            return None
        if fault.skip > 0:
            self._change(switch, {**table, name: replace(fault, skip=fault.skip - 1)})
            return None
        if fault.times > 0:
            self._change(switch, {**table, name: replace(fault, times=fault.times - 1)})
        self._note("injected", switch)
        return fault

    def _change(self, name: str, value: object) -> None:
        changes: dict[str, Any] = {name: value}
        self._faults = replace(self._faults, **changes)

    def count_injected(self, switch: str) -> None:
        """Count a lasting switch that took effect."""
        with self._lock:
            self._note("injected", switch)
