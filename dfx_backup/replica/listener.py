"""The socket: a threaded HTTP/1.1 listener on loopback that keeps connections alive."""

import contextlib
import ipaddress
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from dfx_backup.errors import NetworkError, UsageError
from dfx_backup.replica.http import Response, text_response

__all__ = ["Listener", "Serve", "listen"]

_log: Final = logging.getLogger(__name__)

IDLE_S: Final = 600.0
DRAIN_BYTES: Final = 64 * 1024 * 1024
_SMALL: Final = 1 << 16

Serve = Callable[[str, str, bytes, str], Response]
"""Takes method, path, body and the Authorization header."""


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = IDLE_S
    server: "Listener"

    def do_GET(self) -> None:
        """Serve a GET request."""
        self._serve()

    def do_POST(self) -> None:
        """Serve a POST request."""
        self._serve()

    def _serve(self) -> None:
        body = self._read_body(self.server.body_limit(self.path))
        if body is None:
            return
        authorization = self.headers.get("Authorization", "")
        response = self.server.serve(self.command, self.path, body, authorization)
        _log.debug("%s %s %d", self.command, self.path, response.status)
        if response.hang_s:
            self.server.stopping.wait(response.hang_s)
        if response.drop:
            self.close_connection = True
        else:
            self._write(response)

    def _read_body(self, limit: int) -> bytes | None:
        """The body, or None when the request was answered because of it."""
        if "Transfer-Encoding" in self.headers:
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "A Content-Length is needed, not chunks")
            return None
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit()):
            self._refuse(HTTPStatus.BAD_REQUEST, "Content-Length is not a number")
            return None
        size = int(length)
        if size <= limit:
            body = self.rfile.read(size)
            if len(body) == size:
                return body
            self.close_connection = True  # the client went away
            return None
        if size <= DRAIN_BYTES:
            self._drain(size)  # a client that is still sending would not read the answer
        self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {limit} bytes")
        return None

    def _drain(self, size: int) -> None:
        while size > 0:
            got = len(self.rfile.read(min(size, 1 << 16)))
            size = size - got if got else 0

    def _refuse(self, status: int, message: str) -> None:
        self.close_connection = True
        self._write(text_response(status, message))

    def _write(self, response: Response) -> None:
        reason = HTTPStatus(response.status).phrase
        closing = "Connection: close\r\n" if self.close_connection else ""
        head = (
            f"HTTP/1.1 {response.status} {reason}\r\n"
            f"Content-Type: {response.content_type}\r\n"
            f"Content-Length: {len(response.body)}\r\n"
            f"Date: {self.date_time_string()}\r\n{closing}\r\n"
        ).encode("ascii")
        body = response.body
        if response.truncate:
            body = body[: len(body) // 2]
            self.close_connection = True
        if len(body) < 1 << 16:
            self.connection.sendall(head + body)
        else:
            self.connection.sendall(head)
            self.connection.sendall(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - as inherited
        """Log for developers only."""
        _log.debug(format, *args)


class Listener(ThreadingHTTPServer):
    """The socket and its connections.

    Attributes:
        serve: answers a request.
        body_limit: gives the bytes that a body sent to a path may have.
        stopping: ends connections that are left hanging.
    """

    request_queue_size = 1024
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    serve: Serve
    body_limit: Callable[[str], int]

    def __init__(self, address: tuple[str, int], family: socket.AddressFamily) -> None:
        self.address_family = family
        self.stopping = threading.Event()
        self._open: dict[socket.socket, threading.Thread | None] = {}
        self._open_lock = threading.Lock()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind; no name look-up, which may take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name = str(self.server_address[0])
        self.server_port = int(self.server_address[1])

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as in socketserver
        """Serve one connection, which `close_connections` may end."""
        with self._open_lock:
            stopping = self.stopping.is_set()
            if not stopping:
                self._open[request] = threading.current_thread()
        if stopping:
            self.shutdown_request(request)
            return
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._open_lock:
                self._open.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as in socketserver
        """Answer 500 when it was our fault; clients that go away are nothing to talk about."""
        if isinstance(sys.exception(), OSError):
            _log.debug("connection of %s ended", client_address, exc_info=True)
            return
        _log.error("a request of %s failed", client_address, exc_info=True)
        message = b"The replica failed; its log says why"
        head = b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain\r\n"
        head += b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(message)
        with contextlib.suppress(OSError):
            request.sendall(head + message)

    def close_connections(self, timeout_s: float) -> None:
        """End all connections and wait for their threads."""
        with self._open_lock:
            self.stopping.set()
            connections = list(self._open.items())
        for connection, _ in connections:
            with contextlib.suppress(OSError):  # it may be closed already
                connection.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + timeout_s
        for _, thread in connections:
            if thread is not None:
                thread.join(max(0.0, deadline - time.monotonic()))


def listen(host: str, port: int) -> Listener:
    """Open the socket; set `serve` and `body_limit` before serving.

    Args:
        host: an address of the loopback interface, or "localhost".
        port: 0 takes a free one.

    Raises:
        UsageError: another address.
        NetworkError: the port is taken.
    """
    name = "127.0.0.1" if host == "localhost" else host
    try:
        address = ipaddress.ip_address(name)
    except ValueError as error:
        raise UsageError(f"{host!r} is no IP address") from error
    if not address.is_loopback:
        raise UsageError(
            f"A development replica binds to loopback only, not to {host}",
            hint="Use 127.0.0.1 or ::1",
        )
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        return Listener((name, port), family)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise NetworkError(
            f"Can't listen on port {port} of {host}: {reason}",
            hint="Stop the program that has it, or choose another port; 0 takes a free one",
        ) from error
