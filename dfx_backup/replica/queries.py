"""Messages that change nothing: queries, composite queries, `inspect_message`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dfx_backup.replica.calls import Closure
from dfx_backup.replica.execution import refusal
from dfx_backup.replica.host import Host
from dfx_backup.replica.overlay import Overlay
from dfx_backup.replica.principal import to_text
from dfx_backup.replica.reject import Reject
from dfx_backup.replica.state import MANAGEMENT_ID, CanisterState
from dfx_backup.replica.system_api.frame import Frame, OutgoingCall, Trap
from dfx_backup.replica.system_api.table import Mode

if TYPE_CHECKING:
    from dfx_backup.replica.instance import Instance, SavePoint

_MAX_DEPTH = 6
_CERTIFIED = (Mode.QUERY, Mode.COMPOSITE)
"""Callbacks of composite queries see no certificate."""

Follow = Callable[[OutgoingCall], bytes | Reject]
"""Evaluates a call made by a composite query."""


@dataclass(slots=True)
class _Graph:
    """One call graph of a composite query.

    Attributes:
        left: instructions that the whole graph may still execute.
        root: the canister that the user asked.
        active: canisters whose warm instance holds uncommitted state of this graph.
    """

    left: int
    root: bytes
    active: set[bytes] = field(default_factory=set)


class Queries:
    """Executes on warm instances and takes everything back."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._executor = host.executor

    def query(self, sender: bytes, canister_id: bytes, method: str, arg: bytes) -> bytes:
        """Execute a user's query.

        Raises:
            Reject: whatever went wrong.
        """
        if canister_id == MANAGEMENT_ID:
            return self._management(sender, method, arg)
        graph = _Graph(left=self._host.limits.query, root=canister_id)
        result = self._evaluate(graph, 1, sender, canister_id, method, arg)
        if isinstance(result, Reject):
            raise result
        return result

    def inspect(self, sender: bytes, canister: CanisterState, method: str, arg: bytes) -> None:
        """Run `canister_inspect_message`, if the canister has it.

        Raises:
            Reject: IC0406 not accepted; else the trap.
        """
        if "canister_inspect_message" not in self._executor.info(canister).hooks:
            return
        frame = make_frame(self._host, canister, Mode.INSPECT, sender, arg)
        frame.method = method
        trap = self._executor.run(
            canister, "canister_inspect_message", frame, self._host.limits.inspect
        )
        self._executor.rollback(canister)
        if trap is not None:
            raise refusal(to_text(canister.canister_id), trap)
        if not frame.is_accepted:
            raise Reject.from_error_code(406, "Canister rejected the message")

    def _management(self, caller: bytes, method: str, arg: bytes) -> bytes:
        if self._host.management is None:
            raise Reject.from_error_code(536, "there is no management canister")
        return self._host.management.query(caller, method, arg)

    def _evaluate(
        self,
        graph: _Graph,
        depth: int,
        caller: bytes,
        canister_id: bytes,
        method: str,
        arg: bytes,
    ) -> bytes | Reject:
        try:
            if canister_id == MANAGEMENT_ID:
                return self._management(caller, method, arg)
            if canister_id in self._host.natives:
                return self._host.natives[canister_id].query(caller, canister_id, method, arg)
            canister = self._host.find(canister_id)
            self._host.check_runs(canister)
            kind = self._kind(canister, method)
        except Reject as reject:
            return reject
        run = _Run(self._host, graph, canister, caller)
        try:
            if kind == "query":
                return run.plain(method, arg)
            return run.composite(method, arg, lambda call: self._follow(graph, depth, run, call))
        finally:
            run.discard()

    def _follow(self, graph: _Graph, depth: int, run: "_Run", call: OutgoingCall) -> bytes | Reject:
        """Evaluate a call.

        Raises:
            Reject: the call graph is too deep, which ends the composite query that calls.
        """
        if depth == _MAX_DEPTH and call.callee != MANAGEMENT_ID:
            raise Reject.from_error_code(525, f"query call graph deeper than {_MAX_DEPTH}")
        return self._evaluate(
            graph,
            depth + 1,
            run.canister.canister_id,
            call.callee,
            call.method,
            bytes(call.arg),
        )

    def _kind(self, canister: CanisterState, method: str) -> str:
        kind = self._executor.info(canister).methods.get(method)
        if kind is None or kind == "update":
            name = to_text(canister.canister_id)
            raise Reject.from_error_code(536, f"Canister {name} has no query method '{method}'")
        return kind


def make_frame(host: Host, canister: CanisterState, mode: Mode, caller: bytes, arg: bytes) -> Frame:
    """A frame for a message that changes nothing."""
    frame = Frame(
        mode=mode,
        canister=canister,
        world=host.world(canister.canister_id, in_query=mode in _CERTIFIED),
        caller=caller,
        arg=arg,
        balance=canister.cycles,
    )
    frame.stable = Overlay(canister.stable)
    return frame


class _Run:
    """One query method on one canister, whose state is kept until `discard`.

    A canister that is active in the graph already gets an instance of its own over the committed
    heap, so that the inner call sees the old state.
    """

    def __init__(self, host: Host, graph: _Graph, canister: CanisterState, caller: bytes) -> None:
        self._host = host
        self._graph = graph
        self.canister = canister
        self._caller = caller
        self._is_nested = canister.canister_id in graph.active
        self._stable = Overlay(canister.stable)
        self._instance: Instance | None = None
        if not self._is_nested:
            graph.active.add(canister.canister_id)

    def plain(self, method: str, arg: bytes) -> bytes | Reject:
        """A query without calls."""
        frame = self._frame(Mode.QUERY, arg)
        trap = self._run(f"canister_query {method}", frame)
        return self._result(frame.response, trap)

    def composite(self, method: str, arg: bytes, follow: Follow) -> bytes | Reject:
        """A composite query with all its calls, until it answers."""
        frame = self._frame(Mode.COMPOSITE, arg)
        trap = self._run(f"canister_composite_query {method}", frame)
        waiting = list(frame.calls)
        while trap is None and frame.response is None and waiting:
            call = waiting.pop(0)
            try:
                result = follow(call)
            except Reject as too_deep:
                return too_deep
            frame, trap = self._callback(call, result)
            if trap is None:
                waiting = [*frame.calls, *waiting]
            elif call.cleanup is not None and self._clean_up(call.cleanup) and waiting:
                trap = None
        return self._result(frame.response, trap)

    def discard(self) -> None:
        """Take everything back."""
        if not self._is_nested:
            self._host.executor.rollback(self.canister)
            self._graph.active.discard(self.canister.canister_id)
        elif self._instance is not None:
            self._instance.close()

    def _callback(self, call: OutgoingCall, result: bytes | Reject) -> tuple[Frame, Trap | None]:
        """Run a callback; when it traps and there is a clean-up, with its changes taken back."""
        is_reject = isinstance(result, Reject)
        frame = self._frame(Mode.COMPOSITE_REJECT if is_reject else Mode.COMPOSITE_REPLY, b"")
        if isinstance(result, Reject):
            frame.reject = result
        else:
            frame.arg = result
        saved = None if call.cleanup is None else self._save()
        trap = self._run(call.reject if is_reject else call.reply, frame)
        if trap is not None:
            frame.response = None
            if saved is not None:
                self._restore(*saved)
        return frame, trap

    def _clean_up(self, cleanup: Closure) -> bool:
        return self._run(cleanup, self._frame(Mode.COMPOSITE_CLEANUP, b"")) is None

    def _frame(self, mode: Mode, arg: bytes) -> Frame:
        frame = make_frame(self._host, self.canister, mode, self._caller, arg)
        frame.stable = self._stable
        if self.canister.canister_id != self._graph.root:
            frame.world.make_certificate = None
        return frame

    def _run(self, entry: str | Closure, frame: Frame) -> Trap | None:
        try:
            instance = self._own_instance()
        except Trap as failure:
            return failure
        trap = self._host.executor.run(self.canister, entry, frame, self._graph.left, instance)
        self._graph.left = max(0, self._graph.left - frame.executed)
        return trap

    def _own_instance(self) -> "Instance":
        if self._instance is None:
            executor = self._host.executor
            make = executor.fresh_instance if self._is_nested else executor.instance
            self._instance = make(self.canister)
        return self._instance

    def _save(self) -> "tuple[SavePoint, Overlay]":
        return self._own_instance().save(), self._stable.copy()

    def _restore(self, saved: "SavePoint", stable: Overlay) -> None:
        if not self._own_instance().restore(saved):  # its memory has grown, and can't shrink
            if self._is_nested:
                self._own_instance().close()
            else:
                self._host.executor.drop(self.canister)
            self._instance = None
            self._own_instance().restore(saved)
        self._stable = stable

    def _result(self, response: bytes | Reject | None, trap: Trap | None) -> bytes | Reject:
        name = to_text(self.canister.canister_id)
        if trap is not None:
            return refusal(name, trap)
        if response is not None:
            return response
        return Reject.from_error_code(506, f"Canister {name} did not reply to the call")
