"""Runs replicated messages: calls, answers, call contexts, and the system's own tasks."""

from dfx_backup.replica.calls import (
    Callback,
    CallContext,
    CanisterOrigin,
    IngressOrigin,
    Origin,
    Outcome,
    Request,
    Response,
    SystemOrigin,
)
from dfx_backup.replica.execution import keep_logs, refusal
from dfx_backup.replica.host import Host, Responder
from dfx_backup.replica.principal import to_text
from dfx_backup.replica.reject import Reject
from dfx_backup.replica.state import MANAGEMENT_ID, CanisterState, HookStatus, RunState
from dfx_backup.replica.system_api.frame import Frame, OutgoingCall, Trap
from dfx_backup.replica.system_api.table import Mode

EMPTY_REPLY = b"DIDL\0\0"
_SECOND = 1_000_000_000
_BASE_FEE = 5_000_000


class Scheduler:
    """Executes one message after the other; every message ends with a commit."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._executor = host.executor

    # From outside

    def ingress(
        self, sender: bytes, canister_id: bytes, method: str, arg: bytes, origin: IngressOrigin
    ) -> Outcome:
        """Execute a user's message, then all that waits in the queue."""
        outcome = Outcome(origin.request_id)
        self._host.outcomes[origin.request_id] = outcome
        if canister_id == MANAGEMENT_ID:
            self._management(origin, sender, method, arg, 0)
        else:
            self._call(origin, sender, canister_id, method, arg, 0, 0)
        self.drain()
        return outcome

    def drain(self) -> None:
        """Run what waits in the queue."""
        for _ in range(self._host.limits.messages_per_drain):
            if not self._host.queue:
                return
            entry = self._host.queue.popleft()
            if isinstance(entry, Request):
                self._request(entry)
            else:
                self._response(entry)

    def round(self) -> None:
        """Time-outs, hooks, timers and heartbeats of all canisters."""
        now = self._host.now_ns()
        for canister in list(self._host.canisters.values()):
            self._expire(canister, now)
            if canister.status is not RunState.RUNNING or canister.module is None:
                continue
            if canister.is_frozen:
                continue
            if 0 < canister.global_timer <= now:
                canister.global_timer = 0
                self._task(canister, "canister_global_timer")
            self._task(canister, "canister_heartbeat")
        self.drain()

    # Calls

    def _request(self, request: Request) -> None:
        origin = CanisterOrigin(request.sender, request.callback_id, request.deadline)
        if request.deadline and self._host.now_ns() >= request.deadline:
            return  # the caller is told by its own clock
        if request.receiver == MANAGEMENT_ID:
            self._management(origin, request.sender, request.method, request.arg, request.cycles)
            return
        self._call(
            origin,
            request.sender,
            request.receiver,
            request.method,
            request.arg,
            request.cycles,
            request.deadline,
        )

    def _management(
        self, origin: Origin, caller: bytes, method: str, arg: bytes, cycles: int
    ) -> None:
        respond = Responder(self._host, origin, cycles)
        with self._host.one_message():
            try:
                if self._host.management is None:
                    raise Reject.from_error_code(536, "there is no management canister")
                self._host.management.call(caller, method, arg, cycles, respond)
            except Reject as reject:
                self._host.store.rollback()
                respond(reject, cycles)

    def _call(
        self,
        origin: Origin,
        caller: bytes,
        canister_id: bytes,
        method: str,
        arg: bytes,
        cycles: int,
        deadline: int,
    ) -> None:
        if canister_id in self._host.natives:
            self._native(origin, caller, canister_id, method, arg, cycles)
            return
        try:
            canister = self._host.find(canister_id)
            self._host.check_runs(canister)
            _check_minimum(canister, origin, cycles)
            kind = self._method_kind(canister, method)
        except Reject as reject:
            self._host.answer(origin, reject, cycles)
            known = self._host.canisters.get(canister_id)
            self._host.commit(known)
            return
        self._run_hook_if_due(canister)
        context = CallContext(
            id=self._host.number(),
            origin=origin,
            caller=caller,
            method=method,
            cycles=cycles,
            deadline=deadline,
        )
        canister.contexts[context.id] = context
        mode = Mode.UPDATE if kind == "update" else Mode.REPLICATED_QUERY
        frame = self._frame(canister, context, mode, arg=arg)
        entry = f"canister_{kind} {method}"
        trap = self._executor.run(canister, entry, frame, self._host.limits.update)
        self._conclude(canister, context, frame, trap)

    def _native(
        self,
        origin: Origin,
        caller: bytes,
        canister_id: bytes,
        method: str,
        arg: bytes,
        cycles: int,
    ) -> None:
        with self._host.one_message():
            refund = cycles
            result: bytes | Reject
            try:
                native = self._host.natives[canister_id]
                result, refund = native.call(caller, canister_id, method, arg, cycles)
            except Reject as reject:
                result = reject
            self._host.answer(origin, result, refund)

    def _method_kind(self, canister: CanisterState, method: str) -> str:
        kind = self._executor.info(canister).methods.get(method)
        if kind == "update":
            return kind
        name = to_text(canister.canister_id)
        if kind is None:
            raise Reject.from_error_code(536, f"Canister {name} has no update method '{method}'")
        if kind == "composite_query":
            raise Reject.from_error_code(
                527, f"Composite query '{method}' of {name} can't be called in replicated mode"
            )
        return kind

    # Answers

    def _response(self, response: Response) -> None:
        canister = self._host.canisters.get(response.receiver)
        if canister is None:
            return
        canister.cycles += response.refund
        callback = canister.callbacks.pop(response.callback_id, None)
        context = canister.contexts.get(callback.context_id) if callback else None
        if callback is None or context is None:
            # a late answer, or code that was uninstalled: only the cycles come home
            self._host.commit(canister)
            return
        context.outstanding -= 1
        result = response.result
        is_reject = isinstance(result, Reject)
        frame = self._frame(canister, context, Mode.REJECT if is_reject else Mode.REPLY)
        frame.refunded = response.refund
        if isinstance(result, Reject):
            frame.reject = result
        else:
            frame.arg = result
        closure = callback.reject if is_reject else callback.reply
        trap = self._executor.run(canister, closure, frame, self._host.limits.update)
        if trap is not None and callback.cleanup is not None:
            self._cleanup(canister, context, callback, frame.reject)
        self._conclude(canister, context, frame, trap)

    def _cleanup(
        self,
        canister: CanisterState,
        context: CallContext,
        callback: Callback,
        reject: Reject | None,
    ) -> None:
        assert callback.cleanup is not None
        frame = self._frame(canister, context, Mode.CLEANUP)
        frame.reject = reject
        trap = self._executor.run(canister, callback.cleanup, frame, self._host.limits.update)
        keep_logs(canister, frame.logs, trap, frame.world.now)
        if trap is None:
            self._executor.absorb(canister, frame)

    # The end of a message

    def _frame(
        self, canister: CanisterState, context: CallContext, mode: Mode, *, arg: bytes = b""
    ) -> Frame:
        return Frame(
            mode=mode,
            canister=canister,
            world=self._host.world(canister.canister_id),
            caller=context.caller,
            arg=arg,
            can_respond=not context.responded and not isinstance(context.origin, SystemOrigin),
            deadline=context.deadline,
            balance=canister.cycles,
            available=context.cycles,
            context_instructions=context.instructions,
        )

    def _conclude(
        self, canister: CanisterState, context: CallContext, frame: Frame, trap: Trap | None
    ) -> None:
        keep_logs(canister, frame.logs, trap, frame.world.now)
        context.instructions += frame.executed
        if trap is None:
            if frame.mode is Mode.REPLICATED_QUERY:
                self._executor.rollback(canister)
            self._executor.absorb(canister, frame)
            context.cycles = frame.available
            canister.version += 1
            for call in frame.calls:
                self._send(canister, context, call, frame.world.now)
            if frame.call is not None:  # begun, never performed
                canister.cycles += frame.call.cycles
            if frame.response is not None:
                self._respond(context, frame.response)
        self._charge(canister, frame)
        if context.outstanding == 0:
            self._close(canister, context, trap)
        self._host.commit(canister)

    def _charge(self, canister: CanisterState, frame: Frame) -> None:
        if self._host.charge_cycles:
            canister.cycles = max(0, canister.cycles - _BASE_FEE - frame.executed)

    def _respond(self, context: CallContext, result: bytes | Reject) -> None:
        context.responded = True
        refund, context.cycles = context.cycles, 0
        self._host.answer(context.origin, result, refund)

    def _close(self, canister: CanisterState, context: CallContext, trap: Trap | None) -> None:
        if not context.responded:
            name = to_text(canister.canister_id)
            if trap is not None:
                reject = refusal(name, trap)
            else:
                reject = Reject.from_error_code(506, f"Canister {name} did not reply to the call")
            self._respond(context, reject)
        del canister.contexts[context.id]
        self.finish_stop(canister)

    def _send(
        self, canister: CanisterState, context: CallContext, call: OutgoingCall, now: int
    ) -> None:
        deadline = 0 if call.timeout_s is None else now + call.timeout_s * _SECOND
        callback = Callback(
            id=self._host.number(),
            context_id=context.id,
            callee=call.callee,
            reply=call.reply,
            reject=call.reject,
            cleanup=call.cleanup,
            cycles=call.cycles,
            deadline=deadline,
        )
        canister.callbacks[callback.id] = callback
        context.outstanding += 1
        self._host.queue.append(
            Request(
                sender=canister.canister_id,
                callback_id=callback.id,
                receiver=call.callee,
                method=call.method,
                arg=bytes(call.arg),
                cycles=call.cycles,
                deadline=deadline,
            )
        )

    def finish_stop(self, canister: CanisterState) -> None:
        """A stopping canister without call contexts is stopped; those who wait are told."""
        if canister.status is not RunState.STOPPING or canister.contexts:
            return
        canister.status = RunState.STOPPED
        canister.version += 1
        waiters, canister.stop_waiters = canister.stop_waiters, []
        for waiter in waiters:
            self._host.answer(waiter.origin, EMPTY_REPLY, 0)

    # Tasks of the system

    def _expire(self, canister: CanisterState, now: int) -> None:
        late = [each for each in canister.stop_waiters if each.deadline <= now]
        if late:
            canister.stop_waiters = [each for each in canister.stop_waiters if each.deadline > now]
            for waiter in late:
                reject = Reject.from_error_code(206, "Stop canister request timed out")
                self._host.answer(waiter.origin, reject, 0)
            self._host.commit(canister)
        for callback in list(canister.callbacks.values()):
            if 0 < callback.deadline <= now:
                reject = Reject(Reject.SYS_UNKNOWN, "Call has timed out.", "IC0601")
                self._response(
                    Response(
                        receiver=canister.canister_id,
                        callback_id=callback.id,
                        result=reject,
                        refund=0,
                    )
                )

    def _run_hook_if_due(self, canister: CanisterState) -> None:
        if canister.hook_status is HookStatus.READY:
            canister.hook_status = HookStatus.EXECUTED
            self._task(canister, "canister_on_low_wasm_memory")

    def _task(self, canister: CanisterState, export: str) -> None:
        if export != "canister_on_low_wasm_memory":
            self._run_hook_if_due(canister)
        if export not in self._executor.info(canister).hooks:
            return
        context = CallContext(
            id=self._host.number(),
            origin=SystemOrigin(),
            caller=MANAGEMENT_ID,
            method=export,
            cycles=0,
            responded=True,
        )
        canister.contexts[context.id] = context
        frame = self._frame(canister, context, Mode.TASK)
        trap = self._executor.run(canister, export, frame, self._host.limits.update)
        self._conclude(canister, context, frame, trap)


def _check_minimum(canister: CanisterState, origin: Origin, cycles: int) -> None:
    """Refuse calls of other canisters that carry fewer cycles than the canister's minimum.

    Raises:
        Reject: code 5, as the interface specification says; the number is our own choice.
    """
    minimum = canister.settings.minimum_incoming_canister_call_cycles
    is_foreign = isinstance(origin, CanisterOrigin) and origin.canister_id != canister.canister_id
    if is_foreign and cycles < minimum:
        raise Reject.from_error_code(
            504,
            f"Canister {to_text(canister.canister_id)} requires at least {minimum} transferred "
            f"cycles for a call from another canister, but got {cycles}",
        )
