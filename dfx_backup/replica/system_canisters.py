"""Two canisters of the network nervous system, as far as `icp canister create` needs them.

They have no code, state or balance: the cycles ledger makes canisters with as many cycles as are
asked for, whoever asks, and the cycles minting canister knows one subnet.
"""

import secrets
from importlib.resources import files
from typing import Any, Final

from dfx_backup.replica.calls import Outcome
from dfx_backup.replica.candid import CandidError, Codec
from dfx_backup.replica.management_access import METHOD_NOT_FOUND, refuse
from dfx_backup.replica.management_call import Call
from dfx_backup.replica.management_canisters import create
from dfx_backup.replica.principal import from_text, to_text
from dfx_backup.replica.reject import Reject
from dfx_backup.replica.replica import Replica

CYCLES_LEDGER: Final = from_text("um5iw-rqaaa-aaaaq-qaaba-cai")
CYCLES_MINTING: Final = from_text("rkp4c-7iaaa-aaaaa-aaaca-cai")
_METHODS: Final = {CYCLES_LEDGER: "create_canister", CYCLES_MINTING: "get_default_subnets"}


SYSTEM_IDS: Final = frozenset(_METHODS)


class NetworkReplica(Replica):
    """A replica with the two canisters beside its own; users can call them, canisters can't.

    Attributes:
        system: the two canisters.
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401  # those of Replica, handed on
        super().__init__(**options)
        self.system = SystemCanisters(self)

    def accepts_ingress(self, sender: bytes, canister_id: bytes, method: str, arg: bytes) -> None:
        """Check whether an ingress message may enter; see `Replica.accepts_ingress`."""
        if canister_id not in SYSTEM_IDS:
            super().accepts_ingress(sender, canister_id, method, arg)

    def ingress(
        self, sender: bytes, canister_id: bytes, method: str, arg: bytes, *, request_id: bytes = b""
    ) -> Outcome:
        """Execute an ingress message; see `Replica.ingress`."""
        if canister_id not in SYSTEM_IDS:
            return super().ingress(sender, canister_id, method, arg, request_id=request_id)
        outcome = Outcome(request_id)
        with self.lock:
            try:
                result: bytes | Reject = self.system.call(sender, canister_id, method, arg)
            except Reject as reject:
                result = reject
            self.commit()
            outcome.finish(result)
        return outcome

    def query(self, sender: bytes, canister_id: bytes, method: str, arg: bytes) -> bytes:
        """Execute a query; see `Replica.query`."""
        if canister_id not in SYSTEM_IDS:
            return super().query(sender, canister_id, method, arg)
        with self.lock:
            return self.system.query(sender, canister_id, method, arg)


class SystemCanisters:
    """Answers calls to the two canisters; everything runs under the replica's lock."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        text = files(__package__).joinpath("system_canisters.did").read_text("utf-8")
        self.codec = Codec.from_did(text)
        self._blocks = 0

    def call(self, caller: bytes, canister_id: bytes, method: str, arg: bytes) -> bytes:
        """Execute an update, or a query as an update.

        Raises:
            Reject: IC0536 no such method, IC0503 an argument that the canister would trap on.
        """
        if _METHODS.get(canister_id) != method:
            raise refuse(
                METHOD_NOT_FOUND,
                f"Canister {to_text(canister_id)} has no method '{method}' on a development "
                "replica.",
            )
        try:
            values = self.codec.decode_args(method, arg)
        except CandidError as bad:
            raise refuse(503, f"Canister {to_text(canister_id)} trapped: {bad}") from bad
        if method == "get_default_subnets":
            return self.codec.encode_reply(method, [self._replica.subnet_id])
        return self.codec.encode_reply(method, self._create(caller, values[0]))

    def query(self, caller: bytes, canister_id: bytes, method: str, arg: bytes) -> bytes:
        """Answer a query.

        Raises:
            Reject: IC0536 no such query method, or as for calls.
        """
        if method == "create_canister":
            text = f"Canister {to_text(canister_id)} has no query method '{method}'"
            raise refuse(METHOD_NOT_FOUND, text)
        return self.call(caller, canister_id, method, arg)

    def _create(self, caller: bytes, wanted: dict[str, object]) -> tuple[str, object]:
        options = wanted["creation_args"]
        settings = options["settings"] if isinstance(options, dict) else None
        call = Call(
            replica=self._replica,
            caller=caller,
            method="create_canister",
            args={"settings": settings},
            cycles=0,
            respond=None,
            random_bytes=secrets.token_bytes,
            scratch=memoryview(b""),
        )
        amount = wanted["amount"]
        assert isinstance(amount, int)
        try:
            (made,) = create(call, cycles=amount)
        except Reject as reject:
            failed = {"fee_block": None, "refund_block": None, "error": reject.message}
            return "Err", ("FailedToCreate", failed)
        self._blocks += 1
        return "Ok", {"block_id": self._blocks, **made}
