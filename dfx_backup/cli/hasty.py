"""Calls that change nothing, for somebody who will not wait long: `doctor`."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from dfx_backup.drivers.base import BeforeSend
from dfx_backup.errors import NetworkError
from dfx_backup.ic.envelope import CALL_EXPIRY_S
from dfx_backup.ic.principal import Principal
from dfx_backup.ic.session import Session

HASTY_S = 6.0
"""Seconds for one question over HTTP, its repetitions included."""
HASTY_CALL_S = 10.0
"""Seconds for a call: the network agrees on its answer, which takes a few."""
HASTY_PROBE_S = 10.0
"""Seconds in which a tool has to tell its version."""
HASTY_TOOL_S = 20.0
"""Seconds for a call that another program makes."""


class HastyCaller:
    """A session whose calls are given up soon.

    Args:
        session: makes them.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def call(
        self,
        canister: Principal,
        method: str,
        arg: bytes,
        *,
        effective: Principal | None = None,
        expiry_s: float = CALL_EXPIRY_S,
        before_send: BeforeSend | None = None,
        timeout_s: float | None = None,
    ) -> bytes:
        """Make a call; see `Session.call`."""
        return self._session.call(
            canister,
            method,
            arg,
            effective=effective,
            expiry_s=expiry_s,
            before_send=before_send,
            timeout_s=HASTY_CALL_S if timeout_s is None else min(timeout_s, HASTY_CALL_S),
        )

    def watch(self, listener: Callable[[NetworkError], None]) -> AbstractContextManager[None]:
        """Tell a listener of every request that fails; see `Session.watch`."""
        return self._session.watch(listener)
