"""Two canisters of the network, as far as `icp canister create` and `delete` need them.

They have no code, state or balances: the cycles ledger makes canisters with as many cycles as are
asked for, whoever asks, and keeps the cycles that canisters deposit to itself; the cycles minting
canister knows one subnet.
"""

from importlib.resources import files
from typing import Final

from dfx_backup.replica.candid import CandidError, Codec
from dfx_backup.replica.management_access import METHOD_NOT_FOUND, refuse
from dfx_backup.replica.management_call import Call
from dfx_backup.replica.management_canisters import create
from dfx_backup.replica.principal import from_text, to_text
from dfx_backup.replica.reject import Reject
from dfx_backup.replica.replica import Replica

CYCLES_LEDGER: Final = from_text("um5iw-rqaaa-aaaaq-qaaba-cai")
CYCLES_MINTING: Final = from_text("rkp4c-7iaaa-aaaaa-aaaca-cai")
_METHODS: Final = {
    CYCLES_LEDGER: ("create_canister", "deposit"),
    CYCLES_MINTING: ("get_default_subnets",),
}
_QUERIES: Final = ("get_default_subnets",)


class SystemCanisters:
    """Answers calls to the two canisters; everything runs under the replica's lock.

    Attributes:
        codec: of their interface.
    """

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        text = files(__package__).joinpath("system_canisters.did").read_text("utf-8")
        self.codec = Codec.from_did(text)
        self._blocks = 0

    @classmethod
    def join(cls, replica: Replica) -> "SystemCanisters":
        """Put the two canisters beside the replica's own."""
        system = cls(replica)
        replica.natives.update(dict.fromkeys(_METHODS, system))
        return system

    def call(
        self, caller: bytes, canister_id: bytes, method: str, arg: bytes, cycles: int
    ) -> tuple[bytes, int]:
        """Execute an update, or a query as an update.

        Args:
            caller: a user or a canister.
            canister_id: one of the two.
            method: its method.
            arg: Candid.
            cycles: attached to the call.

        Returns:
            The reply, and the cycles that go back.

        Raises:
            Reject: IC0536 no such method, IC0503 an argument that the canister would trap on.
        """
        if method not in _METHODS[canister_id]:
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
            return self.codec.encode_reply(method, [self._replica.subnet_id]), cycles
        if method == "deposit":
            self._blocks += 1
            taken = {"balance": cycles, "block_index": self._blocks}
            return self.codec.encode_reply(method, taken), 0
        return self.codec.encode_reply(method, self._create(caller, values[0])), cycles

    def query(self, caller: bytes, canister_id: bytes, method: str, arg: bytes) -> bytes:
        """Answer a query.

        Raises:
            Reject: IC0536 no such query method, or as for calls.
        """
        if method not in _QUERIES:
            text = f"Canister {to_text(canister_id)} has no query method '{method}'"
            raise refuse(METHOD_NOT_FOUND, text)
        return self.call(caller, canister_id, method, arg, 0)[0]

    def _create(self, caller: bytes, wanted: dict[str, object]) -> tuple[str, object]:
        options = wanted["creation_args"]
        settings = options["settings"] if isinstance(options, dict) else None
        args = {"settings": settings}
        call = Call.without_message(self._replica, caller, "create_canister", args)
        amount = wanted["amount"]
        assert isinstance(amount, int)
        try:
            (made,) = create(call, cycles=amount)
        except Reject as reject:
            failed = {"fee_block": None, "refund_block": None, "error": reject.message}
            return "Err", ("FailedToCreate", failed)
        self._blocks += 1
        return "Ok", {"block_id": self._blocks, **made}
