"""A running replica: execution, HTTP interface, clock, control endpoint and its threads.

It is a development replica: its keys lie unprotected beside its state, and whoever may connect may
create canisters. So it binds to nothing but loopback.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from dfx_backup.errors import DamageError, LockedError, ProjectError, UsageError
from dfx_backup.replica.control import MAX_CONTROL_BODY, Control
from dfx_backup.replica.control_client import CONTROL_PREFIX, ControlFile
from dfx_backup.replica.http import MAX_BODY, Edge, Response, describe, text_response
from dfx_backup.replica.injector import FaultInjector
from dfx_backup.replica.keys import ReplicaKeys
from dfx_backup.replica.listener import Listener, listen
from dfx_backup.replica.management import ManagementCanister
from dfx_backup.replica.reject import ReplicaFailedError
from dfx_backup.replica.replica import Limits, Replica
from dfx_backup.replica.system_canisters import SystemCanisters

__all__ = ["Clock", "ReplicaServer"]

_log: Final = logging.getLogger(__name__)

TICK_S: Final = 0.05
FORGET_S: Final = 5.0


class Clock:
    """A clock that tests may push forward, and that never goes back.

    Args:
        base_ns: the clock below it, nanoseconds since 1970.
    """

    def __init__(self, base_ns: Callable[[], int] = time.time_ns) -> None:
        self._base_ns = base_ns
        self._offset_ns = 0
        self._last_ns = 0

    def __call__(self) -> int:
        """Nanoseconds since 1970."""
        self._last_ns = max(self._last_ns, self._base_ns() + self._offset_ns)
        return self._last_ns

    def advance(self, seconds: float) -> None:
        """Let time jump forward.

        Raises:
            UsageError: `seconds` is negative: the replica's time never goes back.
        """
        if seconds < 0:
            raise UsageError(f"Time can't go back ({seconds} s)")
        self._offset_ns += int(seconds * 1e9)


class ReplicaServer:
    """A running replica.

    Attributes:
        replica: executes canisters; tests may create and install through it.
        edge: the HTTP interface without its socket.
        faults: switches and counters.
        keys: of the replica.
        stopping: set when the server stops.
    """

    JOIN_S: ClassVar[float] = 5.0

    def __init__(
        self,
        listener: Listener,
        keys: ReplicaKeys,
        replica: Replica,
        clock: Clock,
        *,
        control_dir: Path | None,
        sync_timeout_s: float,
    ) -> None:
        self.keys = keys
        self.replica = replica
        self.faults = FaultInjector()
        self.stopping = threading.Event()
        self._clock = clock
        self._server = listener
        self._server.serve = self._serve
        self._server.body_limit = _body_limit
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="replica-execution")
        self.edge = Edge(
            replica,
            keys,
            self.faults,
            executor=self._executor,
            sleep=self.stopping.wait,
            sync_timeout_s=sync_timeout_s,
            now_ns=clock,
        )
        self._control: Control | None = None
        self._control_file: ControlFile | None = None
        if control_dir is not None:
            self._control = Control(replica, self.faults, clock.advance)
            self._control_file = ControlFile.write(
                control_dir, url=self.url, root_key=self.root_key, token=self._control.token
            )
        self._threads = [
            threading.Thread(target=self._accept, name="replica-http", daemon=True),
            threading.Thread(target=self._tick, name="replica-ticks", daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        _log.info("%s at %s", describe(keys), self.url)

    @classmethod
    def start(  # noqa: PLR0913 - the choices of a replica, all named
        cls,
        *,
        port: int = 0,
        state_dir: Path | None = None,
        delegation: bool = False,
        control: bool = False,
        seed: int | None = None,
        host: str = "127.0.0.1",
        cache_dir: Path | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
        limits: Limits | None = None,
        charge_cycles: bool = False,
        sync_timeout_s: float = 10.0,
    ) -> Self:
        """Start a replica; it runs until `close`, or the end of a `with` block.

        Args:
            port: 0 takes a free one.
            state_dir: keeps keys, canisters and snapshots; None forgets them in the end.
            delegation: give the subnet a key of its own under the root key.
            control: serve the control endpoint; needs `state_dir`.
            seed: makes new keys predictable.
            host: an address of the loopback interface.
            cache_dir: keeps compiled modules; may be shared.
            clock_ns: nanoseconds since 1970.
            limits: of execution.
            charge_cycles: whether execution and storage burn cycles.
            sync_timeout_s: how long a call waits for its answer before 202.

        Raises:
            UsageError: another address than loopback, or `control` without `state_dir`.
            NetworkError: the port is taken.
            LockedError, ProjectError, DamageError: the state directory is in use by another
                replica, can't be used, can't be read.
        """
        if control and state_dir is None:
            raise UsageError("The control endpoint needs a state directory for its token")
        clock = Clock(clock_ns)
        options = {"cache_dir": cache_dir, "limits": limits, "charge_cycles": charge_cycles}
        listener = listen(host, port)
        try:
            keys, replica = _open(state_dir, delegation, seed, now_ns=clock, **options)
        except BaseException:
            listener.server_close()
            raise
        where = state_dir if control else None
        return cls(listener, keys, replica, clock, control_dir=where, sync_timeout_s=sync_timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def port(self) -> int:
        """TCP port."""
        return self._server.server_port

    @property
    def url(self) -> str:
        """Base URL, without a slash at its end."""
        host = self._server.server_name
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def root_key(self) -> bytes:
        """Public root key, DER, 133 bytes."""
        return self.keys.root.public_der

    def advance_time(self, seconds: float) -> None:
        """Let the replica's clock jump forward, and run what is due.

        Raises:
            UsageError: `seconds` is negative.
        """
        self._clock.advance(seconds)
        self.replica.tick()

    def close(self) -> None:
        """Stop serving, end all connections, write the state down. May be called twice."""
        if self.stopping.is_set():
            return
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self.edge.close()
        self._server.close_connections(self.JOIN_S)
        for thread in self._threads:
            thread.join(self.JOIN_S)
        self._executor.shutdown(wait=True, cancel_futures=True)
        self.replica.close()
        if self._control_file is not None:
            self._control_file.remove()

    def _serve(self, method: str, path: str, body: bytes, authorization: str) -> Response:
        if not path.startswith(CONTROL_PREFIX):
            return self.edge.handle(method, path, body)
        if self._control is None:
            return text_response(404, "There is no control endpoint; start with --control")
        return self._control.handle(method, path, body, authorization)

    def _accept(self) -> None:
        self._server.serve_forever(poll_interval=0.05)

    def _tick(self) -> None:
        next_forget = time.monotonic() + FORGET_S
        while not self.stopping.wait(TICK_S):
            try:
                self.replica.tick()
            except ReplicaFailedError as error:
                is_bug = not isinstance(error.__cause__, OSError)
                _log.error("%s", error, exc_info=error if is_bug else None)
                return
            if time.monotonic() >= next_forget:
                self.edge.log.forget(self.replica.now_ns())
                next_forget = time.monotonic() + FORGET_S


def _open(
    state_dir: Path | None,
    delegation: bool,  # noqa: FBT001 - as it is handed on
    seed: int | None,
    **options: Any,  # noqa: ANN401 - those of Replica
) -> tuple[ReplicaKeys, Replica]:
    """Open keys and state, and say in our own words what is wrong with their directory."""
    try:
        keys = ReplicaKeys.load_or_create(state_dir, delegation=delegation, seed=seed)
        replica = Replica(state_dir=state_dir, **options)
    except BlockingIOError as error:
        raise LockedError(
            f"{state_dir}: another replica is using this state directory",
            hint="Stop that replica, or choose another directory",
        ) from error
    except OSError as error:
        raise ProjectError(f"{state_dir} can't be used: {error.strerror or error}") from error
    except ValueError as error:
        raise DamageError(f"{state_dir} can't be read: {error}") from error
    replica.management = ManagementCanister(replica)
    SystemCanisters.join(replica)
    return keys, replica


def _body_limit(path: str) -> int:
    return MAX_CONTROL_BODY if path.startswith(CONTROL_PREFIX) else MAX_BODY
