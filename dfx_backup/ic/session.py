"""Calls to one network as one identity: signed, sent, followed until they are settled.

A call is signed once. While its answer is missing, the same envelope goes out again (a replica
executes it once), and after its expiry only the certified state is asked, so that the same call
never happens twice.
"""

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from email.utils import parsedate_to_datetime

from dfx_backup.errors import NetworkError, ProjectError
from dfx_backup.ic import cbor, root_keys
from dfx_backup.ic.allocator import keep_buffers
from dfx_backup.ic.call import Call
from dfx_backup.ic.certificate import Certificate, CertificateVerifier, Evidence
from dfx_backup.ic.envelope import (
    CALL_EXPIRY_S,
    Hashable,
    SignedRequest,
    call_content,
    query_content,
    read_state_content,
    sign,
)
from dfx_backup.ic.principal import Principal
from dfx_backup.ic.query import NodeKeys, checked_reply
from dfx_backup.ic.retry import Backoff, RetryPolicy, passes
from dfx_backup.ic.signer import Identity
from dfx_backup.ic.surroundings import Surroundings
from dfx_backup.ic.transport import READ_TIMEOUT_S, Answer, Endpoint, Transport
from dfx_backup.model import NetworkId, SentCall

READ_ATTEMPTS = 6
"""How often a read is tried at most: somewhat more than 5 s, when nobody answers at once."""
READ_PATIENCE_S = 30.0
"""Seconds for which a read is tried again while errors pass."""
AFTER_EXPIRY_S = 60.0
"""Seconds for which an unanswered call is followed after its expiry."""
CHECKS_AT_A_TIME = 4
"""Answers that are checked at a time: each takes two copies and CPU, so more would help nobody."""


class Session:
    """A connection to one network as one identity. Threads may share it.

    Args:
        url: where the network answers.
        identity: who signs.
        root_key: DER of the key to trust. None: mainnet's, and on loopback whatever the replica
            there says.
        surroundings: clock, sleep and chance.
        timeout_s: seconds without a byte after which one HTTP request is given up.
        proxy: URL of an HTTP proxy, or None.
        patience_s: seconds for which a read is tried again while errors pass.

    Raises:
        ProjectError: the URL or the root key is none.

    Attributes:
        checking: held while the answer to a call is checked.
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
        patience_s: float = READ_PATIENCE_S,
    ) -> None:
        keep_buffers()
        self.identity = identity
        self.outside = surroundings or Surroundings()
        self.checking = threading.Semaphore(CHECKS_AT_A_TIME)
        endpoint = Endpoint.parse(url)
        self.transport = Transport(
            endpoint, timeout_s=timeout_s, proxy=proxy, monotonic=self.outside.monotonic
        )
        self._patience_s = patience_s
        self._reads = RetryPolicy(
            attempts=READ_ATTEMPTS,
            within_s=patience_s,
            backoff=Backoff(first_s=0.5, longest_s=5.0, rng=self.outside.rng),
            sleep=self.outside.sleep,
            monotonic=self.outside.monotonic,
        )
        self._verifier: CertificateVerifier | None = None
        self._root_key: bytes | None = root_key
        if root_key is None and not root_keys.is_loopback(endpoint.host):
            self._root_key = root_keys.MAINNET_ROOT_KEY
        if self._root_key is not None:
            self._trust(self._root_key)
        self._nodes = NodeKeys(self.read_state, monotonic=self.outside.monotonic)

    def root_key(self) -> bytes:
        """DER of the root key that this session trusts; on loopback it is fetched once.

        Raises:
            NetworkError: the replica does not tell it.
        """
        if self._root_key is None:
            found = self.status().get("root_key")
            if not isinstance(found, bytes):
                raise NetworkError("the replica does not tell its root key")
            try:
                self._trust(found)
            except ProjectError as error:
                raise NetworkError(f"the replica tells a wrong root key: {error}") from None
            self._root_key = found
        return self._root_key

    def network_id(self) -> NetworkId:
        """The network's identity: SHA-256 of its root key in DER, hexadecimal."""
        return root_keys.network_id(self.root_key())

    def status(self) -> dict[str, object]:
        """The replica's status (interface spec, "Status endpoint"); nobody certifies it."""
        return cbor.load_map(self._status().body, "the replica's status")

    def server_time(self) -> float | None:
        """Seconds since the epoch as whoever answers HTTP tells them; nobody certifies it.

        None when it tells none. It is what is left when a clock is so wrong that requests are
        refused and certificates look too old.
        """
        told = self._status().date
        try:
            return None if told is None else parsedate_to_datetime(told).timestamp()
        except (ValueError, OverflowError):
            return None

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
        """Make an update call and return its certified reply.

        Args:
            canister: whose method it is.
            method: its name.
            arg: the argument in Candid.
            effective: the canister that it is about, where `canister` is the management canister.
            expiry_s: seconds for which the call can execute, at most 300.
            before_send: called once, after signing and before the first byte leaves.
            timeout_s: seconds after which its outcome is given up; None waits somewhat longer than
                the call can execute.

        Raises:
            RejectError: it was refused.
            UnknownOutcomeError: it was sent, and its outcome could not be learnt.
            CertificateError: an answer came that the network has not certified.
            NetworkError: it was not sent, or the replica will never execute it.
        """
        effective = effective or canister
        self.verifier()  # the root key is there before anything is sent
        content = call_content(canister, method, arg, nonce=self.outside.nonce())
        request = sign(self.identity, content, now=self.outside.clock(), expiry_s=expiry_s)
        if before_send is not None:
            before_send(request.sent())
        patience = expiry_s + AFTER_EXPIRY_S if timeout_s is None else timeout_s
        what = f"{method} of {effective}"
        return Call(self, request, effective, what, patience_s=patience).settle()

    def query(
        self, canister: Principal, method: str, arg: bytes, *, effective: Principal | None = None
    ) -> bytes:
        """Ask a query method; the answer is signed by nodes whose keys the network certifies.

        One node answers on its own: what it says can be old, or wrong if it is malicious.

        Raises:
            RejectError: it was refused.
            CertificateError: the answer is not signed as it should be.
            NetworkError: no answer came.
        """
        effective = effective or canister
        content = query_content(canister, method, arg)

        def ask() -> bytes:
            request = self._sign_read(content)
            answer = self._post(effective, "v3", "query", request, self._patience_s)
            found = cbor.load_map(answer.body, "the answer to the query")
            return checked_reply(
                found,
                request.request_id,
                functools.partial(self._nodes.key, effective),
                now=self.outside.clock(),
                what=f"{method} of {effective}",
            )

        return self._reads.run(ask, passes=passes)

    def read_state(
        self,
        paths: Sequence[Sequence[bytes]],
        effective: Principal,
        *,
        within_s: float | None = None,
        policy: RetryPolicy | None = None,
    ) -> Certificate:
        """Read parts of the certified state.

        Args:
            paths: which parts; each path is a list of labels.
            effective: the canister that they are about.
            within_s: seconds for one attempt; None takes those for reads.
            policy: how often it is tried; None takes the one for reads.

        Raises:
            CertificateError: the answer is not certified.
            NetworkError: no answer came.
        """

        def ask() -> Certificate:
            request = self._sign_read(read_state_content(paths))
            limit_s = self._patience_s if within_s is None else within_s
            answer = self._post(effective, "v3", "read_state", request, limit_s)
            found = cbor.load_map(answer.body, "the certified state")
            raw = cbor.field(found, "certificate", bytes, "the certified state")
            return self.verifier().verify(raw, effective)

        return (policy or self._reads).run(ask, passes=passes)

    def send_call(self, request: SignedRequest, effective: Principal, within_s: float) -> Answer:
        """Send a signed call once."""
        return self._post(effective, "v4", "call", request, within_s)

    def verifier(self) -> CertificateVerifier:
        """The verifier with the trusted root key."""
        if self._verifier is None:
            self.root_key()
        assert self._verifier is not None
        return self._verifier

    def evidence(self, canister: Principal) -> Evidence | None:
        """What has vouched for answers about a canister; None when there was none."""
        return self.verifier().evidence(canister)

    def watch(self, listener: Callable[[NetworkError], None]) -> AbstractContextManager[None]:
        """Tell a listener of every request that fails; see `Transport.watch`."""
        return self.transport.watch(listener)

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()

    def _status(self) -> Answer:
        return self._reads.run(
            functools.partial(self.transport.get, "/api/v2/status", within_s=self._patience_s),
            passes=passes,
        )

    def _trust(self, root_key: bytes) -> None:
        self._verifier = CertificateVerifier(root_key, clock=self.outside.clock)

    def _sign_read(self, content: Mapping[str, Hashable]) -> SignedRequest:
        return sign(self.identity, content, now=self.outside.clock(), expiry_s=CALL_EXPIRY_S)

    def _post(
        self, effective: Principal, version: str, kind: str, request: SignedRequest, within_s: float
    ) -> Answer:
        path = f"/api/{version}/canister/{effective}/{kind}"
        return self.transport.post(path, request.parts, within_s=within_s)
