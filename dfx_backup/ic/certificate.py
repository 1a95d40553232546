"""Certificates: whether an answer is what the network agreed on (interface spec, "Certificate")."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dfx_backup.errors import CertificateError, NetworkError, ProjectError
from dfx_backup.ic import bls, cbor
from dfx_backup.ic.candid_table import Cursor
from dfx_backup.ic.candid_types import CandidError
from dfx_backup.ic.hash_tree import HashTree
from dfx_backup.ic.principal import MANAGEMENT, Principal
from dfx_backup.ic.root_keys import bls_key

MAX_AGE_S = 240.0
"""Seconds after which a certificate is too old to tell the present."""
MAX_FUTURE_S = 300.0
"""Seconds that a replica's clock may be ahead of ours."""

_STATE_ROOT_DOMAIN = b"\x0dic-state-root"
_CACHED_DELEGATIONS = 32
_NS = 1_000_000_000

Ranges = tuple[tuple[bytes, bytes], ...]
"""First and last canister id of each range, both inclusive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A part of the state that the network has certified; only verified ones exist.

    Attributes:
        tree: the part.
        time_ns: the state's time, nanoseconds since the epoch.
        subnet: the subnet that signed; without a delegation the one that holds the root key.
        ranges: the subnet's canister ids as its delegation tells them; empty without one.
    """

    tree: HashTree
    time_ns: int
    subnet: Principal
    ranges: Ranges


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What vouches for the answers about one canister.

    Attributes:
        subnet: principal of the subnet that signed.
        newest_ns: time of the newest certificate, nanoseconds since the epoch.
    """

    subnet: Principal
    newest_ns: int


@dataclass(frozen=True, slots=True)
class _Parts:
    tree: HashTree
    signature: bytes
    subnet: bytes | None
    delegation: bytes


@dataclass(frozen=True, slots=True)
class _Delegation:
    key: bytes
    ranges: Ranges


class CertificateVerifier:
    """Verifies certificates of one network. Threads may share it.

    Args:
        root_key: the network's root key in DER.
        clock: gives seconds since the epoch.
    """

    def __init__(self, root_key: bytes, *, clock: Callable[[], float]) -> None:
        self._root = bls_key(root_key)
        self._root_subnet = Principal.self_authenticating(root_key)
        self._clock = clock
        self._known: dict[tuple[bytes, bytes], _Delegation] = {}
        self._evidence: dict[Principal, Evidence] = {}
        self._lock = threading.Lock()

    def verify(self, raw: bytes, effective: Principal) -> Certificate:
        """Verify a certificate.

        Args:
            raw: the certificate in CBOR.
            effective: the canister that it is about. The management canister stands for none:
                then the subnet's canister ranges do not matter.

        Raises:
            CertificateError: it is malformed, not signed by the network, not of the canister's
                subnet, or not of the present.
        """
        parts = _parse(raw)
        key, subnet = self._root, self._root_subnet
        ranges: Ranges = ()
        if parts.subnet is not None:
            subnet = Principal(parts.subnet)
            delegation = self._delegation(parts.subnet, parts.delegation)
            key, ranges = delegation.key, delegation.ranges
            if effective != MANAGEMENT and not in_ranges(effective, ranges):
                raise CertificateError(
                    f"the certificate is of a subnet that does not host {effective}"
                )
        _check_signature(parts, key)
        time_ns = leaf_number(parts.tree, [b"time"])
        check_time(time_ns, self._clock(), "the certificate")
        self._note(effective, subnet, time_ns)
        return Certificate(tree=parts.tree, time_ns=time_ns, subnet=subnet, ranges=ranges)

    def evidence(self, effective: Principal) -> Evidence | None:
        """What has vouched for a canister so far; None when nothing was verified about it."""
        with self._lock:
            return self._evidence.get(effective)

    def _note(self, effective: Principal, subnet: Principal, time_ns: int) -> None:
        with self._lock:
            known = self._evidence.get(effective)
            if known is None or known.newest_ns < time_ns:
                self._evidence[effective] = Evidence(subnet=subnet, newest_ns=time_ns)

    def _delegation(self, subnet: bytes, raw: bytes) -> _Delegation:
        with self._lock:
            known = self._known.get((subnet, raw))
        if known is not None:
            return known
        made = self._verify_delegation(subnet, raw)
        with self._lock:
            if len(self._known) >= _CACHED_DELEGATIONS:
                self._known.clear()
            self._known[subnet, raw] = made
        return made

    def _verify_delegation(self, subnet: bytes, raw: bytes) -> _Delegation:
        parts = _parse(raw)
        if parts.subnet is not None:
            raise CertificateError("the certificate's delegation is delegated itself")
        _check_signature(parts, self._root)
        der = parts.tree.value([b"subnet", subnet, b"public_key"])
        if der is None:
            raise CertificateError("the certificate's delegation does not hold the subnet's key")
        try:
            key = bls_key(der, "the subnet's key")
        except ProjectError as error:
            raise CertificateError(error.message) from None
        return _Delegation(key, visible_ranges(parts.tree, subnet))


def visible_ranges(tree: HashTree, subnet: bytes) -> Ranges:
    """The canister ranges of a subnet that a verified tree shows, in both forms that are in use.

    Raises:
        CertificateError: a leaf holds no ranges.
    """
    sharded = [b"canister_ranges", subnet]
    leaves = [tree.value([*sharded, shard]) for shard in tree.labels(sharded)]
    leaves.append(tree.value([b"subnet", subnet, b"canister_ranges"]))
    return tuple(pair for leaf in leaves if leaf is not None for pair in _read_ranges(leaf))


def in_ranges(canister: Principal, ranges: Ranges) -> bool:
    """Whether one of the ranges holds the canister."""
    return any(first <= canister.raw <= last for first, last in ranges)


def leaf_number(tree: HashTree, path: Sequence[bytes]) -> int:
    """A number in a leaf, LEB128.

    Raises:
        CertificateError: the tree does not show it, or it is none.
    """
    leaf = tree.value(path)
    if leaf is None:
        raise CertificateError(f"the certificate does not tell {_shown(path)}")
    cursor = Cursor(memoryview(leaf))
    try:
        number = cursor.unsigned()
    except CandidError:
        raise CertificateError(f"the certificate's {_shown(path)} is no number") from None
    if cursor.at != len(leaf) or number >= 2**64:
        raise CertificateError(f"the certificate's {_shown(path)} is no number")
    return number


def check_time(time_ns: int, now: float, what: str) -> None:
    """Refuse a time that is not about now.

    Raises:
        CertificateError: it is too old, or too far ahead.
    """
    age = now - time_ns / _NS
    if -MAX_FUTURE_S <= age <= MAX_AGE_S:
        return
    how = f"{age:.0f} s old" if age > 0 else f"{-age:.0f} s in the future"
    raise CertificateError(
        f"{what} is {how}", hint="Check this machine's clock; or the node lags behind: try again."
    )


def _parse(raw: bytes) -> _Parts:
    try:
        found = cbor.load_map(raw, "the certificate")
        signature = cbor.field(found, "signature", bytes, "the certificate")
        subnet, inner = None, b""
        if found.get("delegation") is not None:
            delegation = cbor.field(found, "delegation", dict, "the certificate")
            subnet = cbor.field(delegation, "subnet_id", bytes, "the certificate's delegation")
            inner = cbor.field(delegation, "certificate", bytes, "the certificate's delegation")
            Principal(subnet)
    except (NetworkError, ProjectError) as error:
        raise CertificateError(error.message) from None
    return _Parts(HashTree.parse(found.get("tree")), signature, subnet, inner)


def _check_signature(parts: _Parts, key: bytes) -> None:
    if not bls.verify(key, _STATE_ROOT_DOMAIN + parts.tree.digest, parts.signature):
        raise CertificateError(
            "the certificate is not signed by this network",
            hint="Somebody may be in between, or the trusted root key is another network's.",
        )


def _read_ranges(leaf: bytes) -> Ranges:
    try:
        found = cbor.loads(leaf, "the subnet's canister ranges")
    except NetworkError as error:
        raise CertificateError(error.message) from None
    if not isinstance(found, list) or not all(_is_range(pair) for pair in found):
        raise CertificateError("the subnet's canister ranges are malformed")
    return tuple((pair[0], pair[1]) for pair in found)


def _is_range(pair: object) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(isinstance(end, bytes) for end in pair)


def _shown(path: Sequence[bytes]) -> str:
    return "/".join(
        label.decode("ascii") if label.isascii() and label.isalnum() else label.hex()
        for label in path
    )
