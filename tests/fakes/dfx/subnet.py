"""Calls to the management canister, with icp-py-core and none of the code under test."""

import os
from typing import Any
from urllib.parse import urlsplit

import cbor2
import httpx
from icp_agent import Agent, Client
from icp_candid.candid import Types, encode
from icp_core.errors import ReplicaReject, TimeoutWaitingForResponse, TransportError
from icp_identity import Identity

from tests.fakes.dfx.shell import DfxError

_NAMES = {
    1: "SysFatal",
    2: "SysTransient",
    3: "DestinationInvalid",
    4: "CanisterReject",
    5: "CanisterError",
    6: "SysUnknown",
}
_NO_CONTROLLER = (
    (
        "Each canister has a set of controllers. Only those controllers have access to the "
        "canister's management functions (like install_code or stop_canister).\n"
        "The principal you are using to call a management function is not part of the controllers."
    ),
    (
        "To make the management function call succeed, you have to make sure the principal that "
        "calls the function is a controller.\nTo see the current controllers of a canister, use "
        "the 'dfx canister info (--network ic)' command."
    ),
)
_REPLICA_DOWN = (
    "You are trying to connect to the local replica but dfx cannot connect to it.",
    "Target a different network or run 'dfx start' to start the local replica.",
)


class _TimedClient(Client):  # type: ignore[misc] # icp-py-core has no type information
    """Every request under its own time-out; remembers what kind of answer the last call got."""

    def __init__(self, url: str, timeout_s: float) -> None:
        super().__init__(url)
        self._timeout = httpx.Timeout(timeout_s)
        self.last_status = ""

    def call(self, canister_id: str, data: bytes, **_more: Any) -> httpx.Response:
        answer = super().call(canister_id, data, timeout=self._timeout)
        try:
            self.last_status = str(cbor2.loads(answer.content).get("status", ""))
        except (ValueError, AttributeError, EOFError):
            self.last_status = ""  # 202 has no body to speak of
        return answer

    def read_state(self, canister_id: str, data: bytes, **_more: Any) -> bytes:
        return bytes(super().read_state(canister_id, data, timeout=self._timeout))

    def status(self, **_more: Any) -> bytes:
        return bytes(super().status(timeout=self._timeout))


class Subnet:
    """A network as one identity sees it."""

    def __init__(self, url: str, identity: Identity, *, timeout_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._client = _TimedClient(url, timeout_s)
        self._agent = Agent(identity, self._client, nonce_factory=lambda: os.urandom(16))

    def fetch_root_key(self) -> dict[str, Any]:
        try:
            return dict(cbor2.loads(self._client.status()))
        except TransportError as err:
            raise self._transport(err) from err

    def call(self, canister: str, method: str, argument: Any, wanted: Any = None) -> Any:
        """One update call whose effective canister is `canister`; its single result, or None."""
        try:
            values = self._agent.update_raw(
                "aaaaa-aa",
                method,
                encode([argument]),
                wanted,
                effective_canister_id=canister,
                verify_certificate=False,
                timeout=self._timeout_s,
            )
        except ReplicaReject as err:
            raise self._rejected(err) from err
        except TransportError as err:
            raise self._transport(err) from err
        except TimeoutWaitingForResponse as err:
            raise DfxError("The request timed out.") from err
        return values[0]["value"] if values else None

    def _rejected(self, err: ReplicaReject) -> DfxError:
        code = f'Some("{err.error_code}")' if err.error_code else "None"
        text = (
            f"The replica returned a rejection error: reject code "
            f"{_NAMES.get(err.reject_code, 'CanisterError')}, reject message "
            f"{err.reject_message}, error code {code}"
        )
        certified = self._client.last_status != "non_replicated_rejection"
        diagnosed = err.error_code == "IC0512" and not certified
        return DfxError(text, diagnosis=_NO_CONTROLLER if diagnosed else None)

    def _transport(self, err: TransportError) -> DfxError:
        cause = err.original_error
        if isinstance(cause, httpx.HTTPStatusError):
            answer = cause.response
            return DfxError(
                f"The replica returned an HTTP Error: Http Error: status {answer.status_code} "
                f"{answer.reason_phrase}, content type "
                f'"{answer.headers.get("content-type", "")}", content: {answer.text}'
            )
        if isinstance(cause, httpx.TimeoutException):
            return DfxError("The request timed out.")
        text = (
            "An error happened during communication with the replica: error sending request for "
            f"url ({err.url})"
        )
        loopback = urlsplit(self._url).hostname in {"127.0.0.1", "localhost", "::1"}
        down = isinstance(cause, httpx.ConnectError) and loopback
        return DfxError(text, diagnosis=_REPLICA_DOWN if down else None)


def principal(value: str) -> dict[str, Any]:
    return {"type": Types.Principal, "value": value}


def record(**fields: tuple[Any, Any]) -> dict[str, Any]:
    """A Candid record from (type, value) pairs."""
    return {
        "type": Types.Record({name: kind for name, (kind, _) in fields.items()}),
        "value": {name: value for name, (_, value) in fields.items()},
    }


BLOB = Types.Vec(Types.Nat8)
NOTHING = Types.Null
