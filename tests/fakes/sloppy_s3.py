"""An S3 server as careless as some are: no signatures are checked, no conditions are heeded.

It knows what a repository needs: PUT, GET with ranges, HEAD, DELETE, and listings in pages. On
demand it answers 503, errors by their code, whole objects instead of ranges, or late.
"""

import hashlib
import threading
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

Objects = dict[str, tuple[bytes, float]]


@dataclass(slots=True)
class Moods:
    """How the server behaves; tests set these.

    Attributes:
        busy: so many of the next requests are answered by 503.
        every: this and each such one after it is answered by 503; 0 for none.
        late_s: seconds before an answer.
        refusal: status and code that answer everything.
        no_ranges: whole objects are sent where a part was asked for.
        page: objects in one page of a listing.
    """

    busy: int = 0
    every: int = 0
    late_s: float = 0.0
    refusal: tuple[int, str, str] | None = None
    no_ranges: bool = False
    page: int = 1000


class SloppyS3:
    """The server, on a free port of this machine, while the context lasts."""

    def __init__(self, *buckets: str) -> None:
        self.buckets: dict[str, Objects] = {name: {} for name in buckets}
        self.moods = Moods()
        self.requests: list[tuple[str, str]] = []
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def busy_now(self) -> bool:
        with self.lock:
            if self.moods.busy > 0:
                self.moods.busy -= 1
                return True
            return bool(self.moods.every) and len(self.requests) % self.moods.every == 0


@dataclass(slots=True)
class Answer:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def refusal(status: int, code: str, more: str = "") -> Answer:
    text = f"<Error><Code>{code}</Code><Message>as told</Message>{more}</Error>"
    return Answer(status, text.encode(), {"Content-Type": "application/xml"})


def _handler(server: SloppyS3) -> type[BaseHTTPRequestHandler]:
    return type("Handler", (_Handler,), {"sloppy": server})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    sloppy: SloppyS3

    def log_message(self, *_: object) -> None:
        return

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        with self.sloppy.lock:
            self.sloppy.requests.append((self.command, unquote(self.path)))
        time.sleep(self.sloppy.moods.late_s)
        objects = self.sloppy.buckets.get(bucket)
        if self.sloppy.busy_now():
            answer = refusal(503, "SlowDown")
        elif self.sloppy.moods.refusal is not None:
            answer = refusal(*self.sloppy.moods.refusal)
        elif objects is None:
            answer = refusal(404, "NoSuchBucket")
        elif self.command in ("PUT", "DELETE"):
            answer = self._write(objects, key, body)
        elif key:
            answer = self._read(objects, key)
        else:
            answer = _listing(objects, parts.query, self.sloppy.moods.page)
        self._send(answer)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        headers = {"Content-Length": str(len(answer.body))} | answer.headers
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        self.wfile.flush()

    def _write(self, objects: Objects, key: str, body: bytes) -> Answer:
        if self.command == "DELETE":
            return Answer(204 if objects.pop(key, None) else 404)
        objects[key] = (body, time.time())  # If-None-Match is not even looked at
        return Answer(200, headers={"ETag": f'"{hashlib.md5(body).hexdigest()}"'})

    def _read(self, objects: Objects, key: str) -> Answer:
        if key not in objects:
            return refusal(404, "NoSuchKey")
        data, written = objects[key]
        headers = {"Last-Modified": formatdate(written, usegmt=True), "ETag": '"e"'}
        if self.command == "HEAD":
            return Answer(200, headers=headers | {"Content-Length": str(len(data))})
        wanted = self.headers.get("Range")
        if wanted is None or self.sloppy.moods.no_ranges:
            return Answer(200, data, headers)
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        if not first:
            return refusal(501, "NotImplemented")  # a suffix range
        if int(first) >= len(data):
            return refusal(416, "InvalidRange")
        part = data[int(first) : int(last) + 1]
        headers["Content-Range"] = f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"
        return Answer(206, part, headers)

    do_GET = do_PUT = do_HEAD = do_DELETE = _answer  # noqa: N815 - names of http.server

    def do_POST(self) -> None:  # a bulk delete, which this one does not know
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_error(501)


def _listing(objects: Objects, query: str, page: int) -> Answer:
    asked = {name: values[0] for name, values in parse_qs(query).items()}
    after = asked.get("continuation-token", "")
    names = sorted(name for name in list(objects) if name.startswith(asked.get("prefix", "")))
    rest = [name for name in names if name > after]
    shown = rest[:page]
    rows = "".join(
        f"<Contents><Key>{escape(name)}</Key><Size>{len(objects[name][0])}</Size>"
        f"<LastModified>{_iso(objects[name][1])}</LastModified><ETag>e</ETag></Contents>"
        for name in shown
    )
    more = len(rest) > len(shown)
    token = f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>" if more else ""
    text = (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult>'
        f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{rows}</ListBucketResult>"
    )
    return Answer(200, text.encode(), {"Content-Type": "application/xml"})


def _iso(seconds: float) -> str:
    millis = int(seconds * 1000) % 1000
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{millis:03d}Z"
