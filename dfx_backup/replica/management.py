"""The management canister aaaaa-aa: Candid in, the replica's primitives, Candid out.

`management.did` holds the types, `management_access` who may call what, and the modules beside it
the methods themselves. Everything runs under the replica's lock, one call at a time.
"""

import secrets
from collections.abc import Callable
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from dfx_backup.replica import (
    chunk_store,
    management_canisters,
    management_info,
    snapshot_transfer,
)
from dfx_backup.replica.candid import CandidError, Codec, decode, parse_did
from dfx_backup.replica.management_access import (
    INVALID_CONTROLLER,
    INVALID_PAYLOAD,
    METHOD_NOT_FOUND,
    OUT_OF_CYCLES,
    REJECTED,
    Access,
    Rule,
    check_access,
    may_call,
    refuse,
    rule_of,
)
from dfx_backup.replica.management_call import MAX_SLICE, Call, Handler, _Later, find_canister
from dfx_backup.replica.principal import to_text
from dfx_backup.replica.reject import Reject

if TYPE_CHECKING:
    from dfx_backup.replica.replica import Replica, Respond

_HANDLERS: Final[dict[str, Handler]] = {
    **management_canisters.HANDLERS,
    **management_info.HANDLERS,
    **snapshot_transfer.HANDLERS,
    "upload_chunk": chunk_store.upload_chunk,
    "stored_chunks": chunk_store.stored_chunks,
    "clear_chunk_store": chunk_store.clear_chunk_store,
}
# What names the canister that a call is about, without the rest of the argument.
_TARGETS: Final = {
    field: parse_did(f"type t = record {{ {field} : principal }};").types["t"]
    for field in ("canister_id", "target_canister")
}


class ManagementCanister:
    """Answers calls to aaaaa-aa.

    Attributes:
        codec: of the interface, for tests and tools as well.
    """

    def __init__(
        self, replica: "Replica", *, random_bytes: Callable[[int], bytes] = secrets.token_bytes
    ) -> None:
        self._replica = replica
        self._random_bytes = random_bytes
        self._scratch = memoryview(bytearray(MAX_SLICE))
        self.codec = Codec.from_did(
            files(__package__).joinpath("management.did").read_text("utf-8")
        )

    def call(self, caller: bytes, method: str, arg: bytes, cycles: int, respond: "Respond") -> None:
        """Execute a replicated call and answer it, now or, for a stop, later.

        Args:
            caller: a user or a canister.
            method: name of the method.
            arg: Candid.
            cycles: attached to the call.
            respond: gets the reply or the refusal, and the cycles that go back.
        """
        call: Call | None = None
        try:
            rule = rule_of(method)
            call = self._prepare(caller, method, arg, cycles, respond)
            self._check_caller(rule, call)
            values = _HANDLERS[method](call)
        except Reject as reject:
            respond(reject, cycles)
            return
        if not isinstance(values, _Later):
            respond(self.codec.encode_reply(method, *values), call.cycles)

    def query(self, caller: bytes, method: str, arg: bytes) -> bytes:
        """Answer a query call.

        Raises:
            Reject: IC0536 not a query method, IC0512 and others as for calls.
        """
        rule = rule_of(method)
        if not rule.query:
            raise refuse(METHOD_NOT_FOUND, f"Query method {method} not found.")
        call = self._prepare(caller, method, arg, 0, None)
        self._check_caller(rule, call)
        values = _HANDLERS[method](call)
        if isinstance(values, _Later):
            raise refuse(METHOD_NOT_FOUND, f"Query method {method} not found.")
        return self.codec.encode_reply(method, *values)

    def accepts_ingress(self, sender: bytes, method: str, arg: bytes) -> None:
        """Check whether a user may send a call, before it costs anything.

        Raises:
            Reject: IC0406 for canisters or queries only, IC0408 bad argument, IC0301, IC0512,
                IC0207 the canister is frozen, IC0536 or IC0407 no such method here.
        """
        rule = rule_of(method)
        if rule.access is Access.CANISTERS:
            raise refuse(REJECTED, f"Only canisters can call ic00 method {method}")
        if not rule.ingress:
            raise refuse(REJECTED, f"ic00 method {method} can only be called as a query by users")
        target = _target(rule, arg)
        if target is None:
            return
        canister = find_canister(self._replica, target)
        name = to_text(target)
        if not may_call(rule.access, sender, canister):
            raise refuse(
                INVALID_CONTROLLER,
                f"Only controllers of canister {name} can call ic00 method {method}",
            )
        if canister.is_frozen and not rule.while_frozen:
            missing = canister.freezing_limit - canister.cycles
            raise refuse(
                OUT_OF_CYCLES,
                f"Canister {name} is out of cycles: please top up the canister with at least "
                f"{missing} additional cycles",
            )

    def effective_canister_id(self, method: str, arg: bytes) -> bytes | None:
        """Give the canister that a message is about.

        None when it is about none, also when that can't be told: whatever is wrong with the
        message, `accepts_ingress` and `query` say it as the Internet Computer does.
        """
        try:
            return _target(rule_of(method), arg)
        except Reject:
            return None

    def _prepare(
        self,
        caller: bytes,
        method: str,
        arg: bytes,
        cycles: int,
        respond: Any,  # noqa: ANN401  # handed on as it is; None for queries
    ) -> Call:
        try:
            values = self.codec.decode_args(method, arg)
        except CandidError as bad:
            raise _bad_payload(bad) from bad
        return Call(
            replica=self._replica,
            caller=caller,
            method=method,
            args=values[0] if values else {},
            cycles=cycles,
            respond=respond,
            random_bytes=self._random_bytes,
            scratch=self._scratch,
        )

    def _check_caller(self, rule: Rule, call: Call) -> None:
        if rule.access is Access.CANISTERS and call.caller not in self._replica.canisters:
            raise refuse(REJECTED, f"Only canisters can call ic00 method {call.method}")
        if rule.target is not None:
            check_access(rule.access, call.caller, call.canister(rule.target))


def _target(rule: Rule, arg: bytes) -> bytes | None:
    """Give what the argument names as the canister it is about; raises Reject IC0408."""
    if rule.target is None:
        return None
    try:
        found: bytes = decode(arg, [_TARGETS[rule.target]])[0][rule.target]
    except CandidError as bad:
        raise _bad_payload(bad) from bad
    return found


def _bad_payload(bad: CandidError) -> Reject:
    return refuse(INVALID_PAYLOAD, f"Error decoding candid: {bad}")
