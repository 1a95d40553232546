"""ic-py's agent with our wire underneath. This module alone imports ic-py, which takes a while.

`ic.agent.Agent` is what users of ic-py know, and its `Canister` works on top of this one. Nothing
of its own wire is used: every answer is verified, every refusal is an error, every wait ends.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NoReturn

import ic.agent
import ic.candid
import ic.principal

from dfx_backup.errors import BackupError, NetworkError
from dfx_backup.ic.candid_ic_py import UnreadTypeError, decode_like_ic_py
from dfx_backup.ic.candid_reader import Shape
from dfx_backup.ic.certificate import Certificate
from dfx_backup.ic.envelope import CALL_EXPIRY_S
from dfx_backup.ic.outcome import CallState, call_status
from dfx_backup.ic.principal import Principal
from dfx_backup.ic.session import Session
from dfx_backup.ic.signer import Identity
from dfx_backup.ic.surroundings import Surroundings
from dfx_backup.ic.transport import READ_TIMEOUT_S
from dfx_backup.model import NetworkId, SentCall

_IC_PY = Shape(boxed_opt=True, dict_variant=True, principal=ic.principal.Principal)
_SMALL_BYTES = 16 * 1024
_POLL_S = 300.0

CanisterLike = str | ic.principal.Principal | Principal
"""A canister as ic-py's callers name it."""


class BackupAgent(ic.agent.Agent):
    """Calls canisters of one network as one identity. Threads may share it.

    Args:
        url: where the network answers.
        identity: who signs.
        root_key: DER of the key to trust. None: mainnet's, and on loopback whatever the replica
            there says.
        surroundings: clocks, sleep and chance; None takes the real ones.
        timeout_s: seconds without a byte after which one HTTP request is given up.
        proxy: URL of an HTTP proxy, or None.

    Raises:
        ProjectError: the URL or the root key is none.
    """

    def __init__(
        self,
        url: str,
        identity: Identity,
        *,
        root_key: bytes | None = None,
        surroundings: Surroundings | None = None,
        timeout_s: float = READ_TIMEOUT_S,
        proxy: str | None = None,
    ) -> None:
        super().__init__(_Signer(identity), _NoClient(), root_key=root_key)
        self.session = Session(
            url,
            identity,
            root_key=root_key,
            surroundings=surroundings,
            timeout_s=timeout_s,
            proxy=proxy,
        )

    def network_id(self) -> NetworkId:
        """The network's identity; see `Session.network_id`."""
        return self.session.network_id()

    def call(
        self,
        canister: Principal,
        method: str,
        arg: bytes,
        *,
        effective: Principal | None = None,
        expiry_s: float = CALL_EXPIRY_S,
        before_send: Callable[[SentCall], None] | None = None,
        timeout_s: float | None = None,
    ) -> bytes:
        """Make an update call and return its certified reply; see `Session.call`."""
        return self.session.call(
            canister,
            method,
            arg,
            effective=effective,
            expiry_s=expiry_s,
            before_send=before_send,
            timeout_s=timeout_s,
        )

    def query_verified(
        self, canister: Principal, method: str, arg: bytes, *, effective: Principal | None = None
    ) -> bytes:
        """Ask a query method and check the nodes' signatures; see `Session.query`."""
        return self.session.query(canister, method, arg, effective=effective)

    def read_state_certified(
        self, paths: Sequence[Sequence[bytes]], effective: Principal
    ) -> Certificate:
        """Read parts of the certified state; see `Session.read_state`."""
        return self.session.read_state(paths, effective)

    def status(self) -> dict[str, object]:
        """The replica's status; nobody certifies it."""
        return self.session.status()

    def watch(self, listener: Callable[[NetworkError], None]) -> AbstractContextManager[None]:
        """Tell a listener of every request that fails; see `Transport.watch`."""
        return self.session.watch(listener)

    def close(self) -> None:
        """Close the connections."""
        self.session.close()

    # From here on: the methods of ic-py that its facade and its users call.

    def query_raw(
        self,
        canister_id: CanisterLike,
        method_name: str,
        arg: bytes,
        return_type: Any = None,  # noqa: ANN401 # ic-py has no types
        effective_canister_id: CanisterLike | None = None,
    ) -> Any:  # noqa: ANN401 # as above
        """As ic-py's, but verified; a refusal raises `RejectError`."""
        reply = self.session.query(
            _principal(canister_id),
            method_name,
            arg,
            effective=None if effective_canister_id is None else _principal(effective_canister_id),
        )
        return _decoded(reply, return_type)

    def update_raw(
        self,
        canister_id: CanisterLike,
        method_name: str,
        arg: bytes,
        return_type: Any = None,  # noqa: ANN401 # ic-py has no types
        effective_canister_id: CanisterLike | None = None,
        *,
        timeout: float | None = None,
        delay: float | None = None,  # noqa: ARG002 # ic-py's pause between two polls: ours grows
    ) -> Any:  # noqa: ANN401 # as above
        """As ic-py's, but certified; a refusal raises `RejectError`."""
        reply = self.session.call(
            _principal(canister_id),
            method_name,
            arg,
            effective=None if effective_canister_id is None else _principal(effective_canister_id),
            timeout_s=timeout,
        )
        return _decoded(reply, return_type)

    def read_state_raw(self, canister_id: CanisterLike, paths: Sequence[Sequence[bytes]]) -> Any:  # noqa: ANN401 # ic-py has no types
        """As ic-py's: a verified certificate, to be used with `ic.certificate.lookup`."""
        certificate = self.session.read_state(paths, _principal(canister_id))
        return {"tree": certificate.tree.root}

    def request_status_raw(self, canister_id: CanisterLike, req_id: bytes) -> Any:  # noqa: ANN401 # ic-py has no types
        """As ic-py's: the status as text, or None, and the verified certificate."""
        certificate = self.session.read_state(
            [[b"request_status", req_id]], _principal(canister_id)
        )
        state = call_status(certificate, req_id, "the call").state
        known = state not in (CallState.ABSENT, CallState.UNKNOWN)
        return state.value if known else None, {"tree": certificate.tree.root}

    def poll(
        self,
        canister_id: CanisterLike,
        req_id: bytes,
        delay: float = 1,
        timeout: float = _POLL_S,
    ) -> Any:  # noqa: ANN401 # ic-py has no types
        """As ic-py's, but it ends: after 300 s at the latest."""
        return super().poll(canister_id, req_id, delay, min(timeout, _POLL_S))

    async def query_raw_async(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 # ic-py has no types
        """`query_raw` in a thread."""
        return await asyncio.to_thread(self.query_raw, *args, **kwargs)

    async def update_raw_async(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 # as above
        """`update_raw` in a thread."""
        return await asyncio.to_thread(self.update_raw, *args, **kwargs)

    async def read_state_raw_async(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 # as above
        """`read_state_raw` in a thread."""
        return await asyncio.to_thread(self.read_state_raw, *args, **kwargs)

    async def poll_async(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 # as above
        """`poll` in a thread."""
        return await asyncio.to_thread(self.poll, *args, **kwargs)

    async def request_status_raw_async(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 # as above
        """`request_status_raw` in a thread."""
        return await asyncio.to_thread(self.request_status_raw, *args, **kwargs)


class _Signer:
    """Our identity as ic-py's agent asks it."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def sender(self) -> ic.principal.Principal:
        return ic.principal.Principal(self._identity.principal.raw)

    def sign(self, message: bytes) -> tuple[bytes | None, bytes | None]:
        return self._identity.public_key_der, self._identity.sign(message)


class _NoClient:
    """Stands where ic-py keeps its HTTP client, so that nothing gets past our verification."""

    def __getattr__(self, name: str) -> NoReturn:
        raise BackupError(f"ic-py's client is not used: {name} would not be verified")


def _principal(canister: CanisterLike) -> Principal:
    if isinstance(canister, Principal):
        return canister
    if isinstance(canister, ic.principal.Principal):
        return Principal(canister.bytes)
    return Principal.from_text(canister)


def _decoded(reply: bytes, types: Any) -> Any:  # noqa: ANN401 # ic-py has no types
    try:
        return decode_like_ic_py(reply, types, _IC_PY)
    except UnreadTypeError:
        if len(reply) > _SMALL_BYTES:
            raise
        return ic.candid.decode(reply, types)
