"""Addresses of networks: URLs, loopback, root keys. Pure functions."""

import re
from typing import Final
from urllib.parse import urlsplit

from dfx_backup.errors import ProjectError
from dfx_backup.ic import root_keys

# No user part, backslash, query or fragment: readers disagree on which host such a URL means.
_URL = re.compile(r"https?://[A-Za-z0-9._\-:\[\]]+(/[A-Za-z0-9._~\-/]*)?", re.IGNORECASE)
_UNSPECIFIED: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - translated, not bound
_MAX_PORT = 65_535


def looks_like_url(text: str) -> bool:
    """Tell whether a network was given as a URL and not by name."""
    return "://" in text


def read_url(text: str, where: str) -> str:
    """Check a replica's URL; returns it without a trailing slash.

    Args:
        text: the URL.
        where: names the place where it stands, for the message.

    Raises:
        ProjectError: it is not a plain http or https URL.
    """
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port == 0 or not _URL.fullmatch(text):
        raise ProjectError(
            f"{where} {text!r} is not the URL of a replica",
            hint="A URL looks like http://127.0.0.1:4943 or https://icp0.io.",
        )
    return text.rstrip("/")


def is_loopback(url: str) -> bool:
    """Tell whether a URL points to this machine: the only place whose root key may be fetched."""
    return root_keys.is_loopback(urlsplit(url).hostname or "")


def url_of_bind(bind: str, port: int | None, where: str) -> str:
    """The URL under which a local network answers.

    Args:
        bind: `HOST:PORT` as dfx.json has it.
        port: the port at which it really listens, when that is known.
        where: names the place where `bind` stands, for the message.

    Raises:
        ProjectError: `bind` is not a host and a port.
    """
    try:
        parts = urlsplit(f"//{bind}")
        host, configured = parts.hostname, parts.port
    except ValueError:
        host, configured = None, None
    chosen = port if port is not None else configured
    if not host or chosen is None or not re.fullmatch(r"[A-Za-z0-9._\-:\[\]]+", bind):
        raise ProjectError(
            f"{where} {bind!r} is not an address and a port",
            hint="An address to bind looks like 127.0.0.1:4943.",
        )
    host = _UNSPECIFIED.get(host, host)
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{chosen}"


def read_port(text: str) -> int | None:
    """The port in a `webserver-port` file, or None for text that is none."""
    stripped = text.strip()
    if not re.fullmatch(r"[0-9]{1,5}", stripped):
        return None
    port = int(stripped)
    return port if 1 <= port <= _MAX_PORT else None


def read_root_key(text: str, where: str) -> bytes:
    """Read a root key in hexadecimal DER (266 digits).

    Args:
        text: the digits.
        where: names the option or setting, for the message.

    Raises:
        ProjectError: it is not the DER form of a BLS12-381 key.
    """
    try:
        key = bytes.fromhex(text)
        root_keys.bls_key(key)
    except (ValueError, ProjectError):
        raise ProjectError(
            f"{where} is not a root key",
            hint="A root key is 266 hexadecimal digits that begin with 308182301d060d2b.",
        ) from None
    return key
