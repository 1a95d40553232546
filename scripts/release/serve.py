"""A release on localhost, for `dfx extension install URL`: dfx takes no paths and no file URLs."""

import http.server
import json
import re
from functools import partial
from pathlib import Path

MANIFEST = "extension.json"
TEMPLATE = "{{tag}}/{{basename}}.{{archive-format}}"
_HOST = re.compile(r"(localhost|127\.0\.0\.1)(:\d{1,5})?")


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the release's files; its manifest also tells where the archives are: here."""

    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        """Answer with a file."""
        if self.path != f"/{MANIFEST}":
            super().do_GET()
            return
        content = manifest(Path(self.directory), self._base())
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _base(self) -> str:
        """Our own address, as the client knows it."""
        host = self.headers.get("Host", "")
        known = host if _HOST.fullmatch(host) else f"localhost:{self.server.server_address[1]}"
        return f"http://{known}"


def manifest(folder: Path, base: str) -> bytes:
    """The release's manifest with the address of the archives, which dfx must be told.

    Args:
        folder: the release.
        base: what stands before the first slash of our addresses.
    """
    fields = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    fields["download_url_template"] = f"{base}/{TEMPLATE}"
    return (json.dumps(fields, indent=2) + "\n").encode()


def server(folder: Path, port: int) -> http.server.ThreadingHTTPServer:
    """A server that listens on loopback and serves once it is told to.

    Args:
        folder: the release.
        port: 0 takes any.
    """
    handler = partial(Handler, directory=str(folder))
    return http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
