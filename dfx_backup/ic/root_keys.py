"""Root keys: which key a network's answers must be certified by, and what names the network."""

import hashlib
import ipaddress

from dfx_backup.errors import ProjectError
from dfx_backup.ic.bls import KEY_BYTES
from dfx_backup.model import NetworkId

BLS_DER_PREFIX = bytes.fromhex(
    "308182301d060d2b0601040182dc7c0503010201060c2b0601040182dc7c05030201036100"
)
"""DER of a BLS12-381 key in G2, up to the key itself (interface spec, "Certificate")."""

MAINNET_ROOT_KEY = BLS_DER_PREFIX + bytes.fromhex(
    "814c0e6ec71fab583b08bd81373c255c3c371b2e84863c98a4f1e08b74235d14fb5d9c0cd546d968"
    "5f913a0c0b2cc5341583bf4b4392e467db96d65b9bb4cb717112f8472e0d5a4d14505ffd7484b012"
    "91091c5f87b98883463f98091a0baaae"
)
"""Root key of the Internet Computer's mainnet in DER, 133 bytes."""


def bls_key(der: bytes, what: str = "the root key") -> bytes:
    """The 96 bytes of a BLS key in DER.

    Args:
        der: the key as SubjectPublicKeyInfo.
        what: whose key it is, for the error message.

    Raises:
        ProjectError: it is no such key.
    """
    if not der.startswith(BLS_DER_PREFIX) or len(der) != len(BLS_DER_PREFIX) + KEY_BYTES:
        raise ProjectError(
            f"{what} is no BLS key in DER form",
            hint=f"It has {len(BLS_DER_PREFIX) + KEY_BYTES} bytes and starts with 308182301d.",
        )
    return der[len(BLS_DER_PREFIX) :]


def network_id(root_key: bytes) -> NetworkId:
    """The identity of the network that has this root key (DER)."""
    return NetworkId(hashlib.sha256(root_key).hexdigest())


def is_loopback(host: str) -> bool:
    """Whether a host of a URL is this machine: 127.0.0.0/8, ::1 or `localhost`.

    Only there is the root key taken from the replica's own answer: nobody stands in between.
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")) in _LOOPBACK
    except ValueError:
        return False


class _Loopback:
    """The addresses that never leave the machine; addresses that only contain one do not count."""

    _V4 = ipaddress.ip_network("127.0.0.0/8")
    _V6 = ipaddress.ip_address("::1")

    def __contains__(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        return address == self._V6 or address in self._V4


_LOOPBACK = _Loopback()
