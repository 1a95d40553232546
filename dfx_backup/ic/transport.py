"""HTTP to a replica: one pool of connections, no redirects, every wait and every answer bounded."""

import io
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from dfx_backup.errors import NetworkError, ProjectError
from dfx_backup.ic.http_errors import HttpStatusError, TransportError

__all__ = ["Answer", "Endpoint", "HttpStatusError", "Transport", "TransportError"]

MAX_RESPONSE_BYTES = 4 * 1024 * 1024
"""Most that is read of an answer: replies have at most 3 MiB, and their certificate little more."""
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0
"""A replica holds a call for 10 s before it answers 202."""

_POOL_SIZE = 64
_SEND_BYTES = 256 * 1024
_SMALL_BYTES = 16 * 1024
_READ_BYTES = 512 * 1024
_MAX_RETRY_AFTER_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a network answers.

    Attributes:
        base: scheme, host and port, and a path when there is one, without a trailing slash.
        host: the host alone.
    """

    base: str
    host: str

    @classmethod
    def parse(cls, url: str) -> "Endpoint":
        """Take a URL apart; what is connected to and what is judged by its host can't differ.

        Raises:
            ProjectError: it is no http or https URL of a host.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            parts, host, port = urlsplit(""), None, None
        odd = parts.username is not None or parts.query or parts.fragment
        plain = url.isascii() and url.isprintable() and not set(url) & set(' \\"<>^`{|}')
        if parts.scheme not in ("http", "https") or not host or odd or not plain:
            raise ProjectError(
                f"{url!r} is no address of a network",
                hint="It looks like https://icp-api.io or http://127.0.0.1:4943.",
            )
        shown = f"[{host}]" if ":" in host else host
        base = f"{parts.scheme}://{shown}" + (f":{port}" if port else "") + parts.path.rstrip("/")
        return cls(base=base, host=host)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer below 400.

    Attributes:
        status: 200 or 202 for a replica that keeps to the specification.
        body: at most `MAX_RESPONSE_BYTES`.
        date: the header of that name, or None without one.
    """

    status: int
    body: bytes
    date: str | None = None


class Transport:
    """Sends requests to one network. Threads may share it.

    Args:
        endpoint: where the network answers.
        timeout_s: seconds without a byte after which a request is given up.
        max_response: most bytes that are read of an answer.
        proxy: URL of an HTTP proxy, or None.
        monotonic: gives seconds of a clock that never jumps.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        timeout_s: float = READ_TIMEOUT_S,
        max_response: int = MAX_RESPONSE_BYTES,
        proxy: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._max_response = max_response
        self._monotonic = monotonic
        self._listeners: tuple[Callable[[NetworkError], None], ...] = ()
        headers = {"accept-encoding": "identity", "user-agent": "dfx-backup"}
        self._pool: urllib3.PoolManager = (
            urllib3.PoolManager(num_pools=4, maxsize=_POOL_SIZE, headers=headers)
            if proxy is None
            else urllib3.ProxyManager(proxy, num_pools=4, maxsize=_POOL_SIZE, headers=headers)
        )

    def get(self, path: str, *, within_s: float) -> Answer:
        """GET a path.

        Args:
            path: from the endpoint's base on, with a leading slash.
            within_s: seconds in which all of it has to happen.

        Raises:
            TransportError: no answer came.
            HttpStatusError: an answer of 400 or above, or a redirect.
        """
        return self._request("GET", path, None, within_s)

    def post(self, path: str, body: bytes | Sequence[bytes], *, within_s: float) -> Answer:
        """POST a CBOR body, whole or in pieces, to a path; otherwise as `get`."""
        pieces = (body,) if isinstance(body, bytes) else body
        return self._request("POST", path, pieces, within_s)

    @contextmanager
    def watch(self, listener: Callable[[NetworkError], None]) -> Iterator[None]:
        """Tell a listener of every request that fails, until the block ends.

        Args:
            listener: called with the error, in the thread that made the request.
        """
        self._listeners = (*self._listeners, listener)
        try:
            yield
        finally:
            self._listeners = tuple(each for each in self._listeners if each is not listener)

    def close(self) -> None:
        """Close all connections."""
        self._pool.clear()

    def _request(
        self, method: str, path: str, body: Sequence[bytes] | None, within_s: float
    ) -> Answer:
        try:
            return self._exchange(method, path, body, within_s)
        except (TransportError, HttpStatusError) as error:
            for listener in self._listeners:
                listener(error)
            raise

    def _exchange(
        self, method: str, path: str, body: Sequence[bytes] | None, within_s: float
    ) -> Answer:
        deadline = self._monotonic() + within_s
        wait = max(0.001, min(self._timeout_s, within_s))
        headers = dict(self._pool.headers)
        if body is not None:
            headers |= {
                "content-type": "application/cbor",
                "content-length": str(sum(map(len, body))),
            }
        try:
            response = self._pool.request(
                method,
                self._endpoint.base + path,
                body=None if body is None else _slices(body),
                headers=headers,
                timeout=urllib3.Timeout(connect=min(CONNECT_TIMEOUT_S, wait), read=wait),
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            try:
                data = self._read(response, deadline)
            except BaseException:
                response.close()
                raise
            response.release_conn()
        except HTTPError as error:
            raise self._failure(error) from None
        return self._checked(response, data)

    def _read(self, response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
        # Made as large as it will be, and filled in place: a slice is never there twice.
        body = io.BytesIO(bytes(self._announced(response)))
        size = 0
        while chunk := response.read1(_READ_BYTES):
            size += len(chunk)
            if size > self._max_response:
                raise TransportError(
                    f"{self._endpoint.base} answers with more than {self._max_response} bytes",
                    sent=True,
                    final=True,
                )
            if self._monotonic() > deadline:
                raise TransportError(f"{self._endpoint.base} answers too slowly", sent=True)
            body.write(chunk)
        body.truncate(size)
        return body.getvalue()

    def _announced(self, response: urllib3.BaseHTTPResponse) -> int:
        """Bytes of the body, as its header says; 0 when that can't be used."""
        told = response.headers.get("content-length", "")
        known = told.isascii() and told.isdecimal() and len(told) < 12
        return int(told) if known and int(told) <= self._max_response else 0

    def _checked(self, response: urllib3.BaseHTTPResponse, data: bytes) -> Answer:
        if response.status in (200, 202):
            return Answer(status=response.status, body=data, date=response.headers.get("date"))
        text = data[:300].decode("utf-8", "replace").strip()
        shown = "".join(c if c.isprintable() else " " for c in text)
        raise HttpStatusError(
            f"{self._endpoint.base} answers HTTP {response.status}: {shown or 'without a reason'}",
            status=response.status,
            retry_after_s=_retry_after(response.headers.get("retry-after")),
            hint="Check this machine's clock." if "expiry" in shown.lower() else None,
        )

    def _failure(self, error: HTTPError) -> TransportError:
        base = self._endpoint.base
        if isinstance(error, NewConnectionError | ConnectTimeoutError):
            return TransportError(
                f"{base} can't be reached: {_reason(error)}",
                sent=False,
                hint="Is the network running, and is its address right?",
            )
        if isinstance(error, SSLError) and _is_untrusted(error):
            return TransportError(
                f"{base} shows a TLS certificate that is not trusted: {_reason(error)}",
                sent=False,
                final=True,
                hint="Is the address right, and this machine's clock? A certificate authority of"
                " your own is named with SSL_CERT_FILE.",
            )
        if isinstance(error, SSLError):
            return TransportError(
                f"{base} does not speak TLS as it should: {_reason(error)}",
                sent=True,
                hint="A local network is reached with http://, not https://.",
            )
        if isinstance(error, ReadTimeoutError):
            return TransportError(f"{base} did not answer in time", sent=True)
        return TransportError(f"the connection to {base} broke: {_reason(error)}", sent=True)


def _slices(body: Sequence[bytes]) -> Iterator[bytes]:
    """Slices, since a socket's time-out counts for everything that is sent at once."""
    small = []
    for piece in body:
        if len(piece) <= _SMALL_BYTES:
            small.append(piece)
            continue
        yield b"".join(small)
        small.clear()
        for at in range(0, len(piece), _SEND_BYTES):
            yield piece[at : at + _SEND_BYTES]
    yield b"".join(small)


def _reason(error: HTTPError) -> str:
    text = str(error.args[0] if error.args else error)
    return text.rpartition(": ")[2][:200] or type(error).__name__


def _is_untrusted(error: SSLError) -> bool:
    return any(isinstance(arg, ssl.SSLCertVerificationError) for arg in error.args)


def _retry_after(header: str | None) -> float | None:
    """Seconds that a server asks us to wait; dates and nonsense are passed over."""
    if header is None or not header.isascii() or not header.isdecimal():
        return None
    return min(float(header), _MAX_RETRY_AFTER_S)
