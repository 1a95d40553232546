"""Makes certificates and query signatures with the replica's keys, or bad ones on request."""

import hashlib
import threading
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from dfx_backup.replica.certificate import (
    BlsKey,
    Leaf,
    Tree,
    certificate_pieces,
    hash_of_map,
    state_root_signature,
    witness,
)
from dfx_backup.replica.keys import ReplicaKeys
from dfx_backup.replica.principal import self_authenticating
from dfx_backup.replica.state_tree import (
    STRANGER_RANGES,
    Ranges,
    ranges_tree,
    subnet_tree,
    time_leaf,
)

__all__ = ["Certifier", "Defect", "Form"]

Form = Literal["flat", "sharded"]
"""Where a delegation holds the canister ranges: older and newer endpoints differ in that."""

Defect = Literal["signature", "subnet"] | None

_RESPONSE_DOMAIN: Final = b"\x0bic-response"
_DELEGATION_AGE_NS: Final = 60 * 10**9
_NO_METRICS: Final = Leaf(b"")


class Certifier:
    """Signs for the subnet, the root and the node."""

    def __init__(self, keys: ReplicaKeys) -> None:
        self._keys = keys
        self._lock = threading.Lock()
        self._delegations: dict[tuple[Form, Ranges], tuple[int, bytes]] = {}

    def certify(
        self,
        tree: Tree,
        paths: Iterable[tuple[bytes, ...]],
        *,
        form: Form,
        ranges: Ranges,
        now_ns: int,
        defect: Defect = None,
    ) -> list[bytes]:
        """Make the certificate that shows some paths of a tree.

        Args:
            tree: the state.
            paths: what is shown; the time always is.
            form: of the delegation, when there is one.
            ranges: of the subnet.
            now_ns: time of a new delegation.
            defect: what is wrong with it on purpose.

        Returns:
            CBOR in pieces.
        """
        root_hash, pieces = witness(tree, [(b"time",), *paths])
        if defect == "subnet":
            key = self._keys.stranger
            signature = state_root_signature(key, root_hash)
            return certificate_pieces(
                pieces, signature, self._delegation(key, STRANGER_RANGES, form, now_ns)
            )
        signed = root_hash if defect is None else hashlib.sha256(root_hash).digest()
        signature = state_root_signature(self._keys.subnet, signed)
        delegation = None
        if self._keys.delegation:
            delegation = self._cached_delegation(ranges, form, now_ns)
        return certificate_pieces(pieces, signature, delegation)

    def _cached_delegation(self, ranges: Ranges, form: Form, now_ns: int) -> tuple[bytes, bytes]:
        with self._lock:
            made_at, certificate = self._delegations.get((form, ranges), (0, b""))
            if not certificate or not 0 <= now_ns - made_at < _DELEGATION_AGE_NS:
                certificate = self._delegation(self._keys.subnet, ranges, form, now_ns)[1]
                self._delegations = {
                    key: value for key, value in self._delegations.items() if key[1] == ranges
                }
                self._delegations[form, ranges] = (now_ns, certificate)
        return self._keys.subnet_id, certificate

    def _delegation(
        self, key: BlsKey, ranges: Ranges, form: Form, now_ns: int
    ) -> tuple[bytes, bytes]:
        subnet_id = self_authenticating(key.public_der)
        subnets = subnet_tree(self._keys, ranges, _NO_METRICS)
        own = subnets[self._keys.subnet_id] if isinstance(subnets, Mapping) else subnets
        assert isinstance(own, Mapping)
        tree: Tree = {
            b"time": time_leaf(now_ns),
            b"subnet": {subnet_id: {**own, b"public_key": Leaf(key.public_der)}},
            b"canister_ranges": {subnet_id: ranges_tree(ranges)},
        }
        where = (
            (b"subnet", subnet_id, b"canister_ranges")
            if form == "flat"
            else (b"canister_ranges", subnet_id)
        )
        shown = [
            (b"time",),
            (b"subnet", subnet_id, b"public_key"),
            (b"subnet", subnet_id, b"type"),
            where,
        ]
        root_hash, pieces = witness(tree, shown)
        signature = state_root_signature(self._keys.root, root_hash)
        return subnet_id, b"".join(certificate_pieces(pieces, signature, None))

    def sign_response(
        self,
        response: Mapping[str, object],
        request_id: bytes,
        timestamp_ns: int,
        *,
        defect: bool = False,
    ) -> dict[str, object]:
        """Sign a query response as the node.

        Args:
            response: the response's map, without signatures.
            request_id: of the query.
            timestamp_ns: time of the signature.
            defect: sign something else.
        """
        digest = hash_of_map({**response, "timestamp": timestamp_ns, "request_id": request_id})
        if defect:
            digest = hashlib.sha256(digest).digest()
        return {
            "timestamp": timestamp_ns,
            "signature": self._keys.node.sign(_RESPONSE_DOMAIN + digest),
            "identity": self._keys.node_id,
        }
