"""What anybody sees of a canister: no key signs, nothing is called as an update."""

from collections.abc import Sequence
from typing import Protocol

from dfx_backup.ic.certificate import Certificate, leaf_number
from dfx_backup.ic.http_errors import HttpStatusError
from dfx_backup.ic.principal import Principal
from dfx_backup.model import CanisterId

SERVICE = "candid:service"
"""The metadata section in which a canister tells its interface."""

_NOT_FOR_US = (403, 404)
_NS = 1_000_000_000


class AnonymousSession(Protocol):
    """What is needed of an `ic.session.Session` whose identity is the anonymous one."""

    def read_state(self, paths: Sequence[Sequence[bytes]], effective: Principal) -> Certificate:
        """Read parts of the certified state."""

    def query(self, canister: Principal, method: str, arg: bytes) -> bytes:
        """Ask a query method; the answer is checked."""


class PublicView:
    """Canisters of one network, as somebody without a key sees them.

    Args:
        session: anonymous.
    """

    def __init__(self, session: AnonymousSession) -> None:
        self._session = session

    def time_s(self, canister: CanisterId) -> float:
        """The network's time, certified by the canister's subnet; seconds since the epoch.

        Raises:
            CertificateError: it is not certified, or our clock is minutes away from it.
            NetworkError: no answer came.
        """
        certificate = self._session.read_state([[b"time"]], Principal.from_text(canister))
        return leaf_number(certificate.tree, [b"time"]) / _NS

    def metadata(self, canister: CanisterId, section: str) -> bytes | None:
        """A metadata section of the canister's module, certified; None when there is no public one.

        Raises:
            CertificateError: it is not certified.
            NetworkError: no answer came.
        """
        about = Principal.from_text(canister)
        path = [b"canister", about.raw, b"metadata", section.encode()]
        try:
            certificate = self._session.read_state([path], about)
        except HttpStatusError as error:
            if error.status in _NOT_FOR_US:
                return None
            raise
        return certificate.tree.value(path)

    def query(self, canister: CanisterId, method: str, arg: bytes) -> bytes:
        """Ask a query method.

        Raises:
            RejectError: it was refused, or there is none of that name.
            NetworkError: no answer came, or one that can't be checked.
        """
        return self._session.query(Principal.from_text(canister), method, arg)
