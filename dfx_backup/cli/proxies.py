"""Which HTTP proxy stands before a network: the usual variables, read from a given environment."""

from collections.abc import Mapping
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined] # not in typeshed

from dfx_backup.project.address import is_loopback


def proxy_for(url: str, environment: Mapping[str, str]) -> str | None:
    """The proxy's URL, or None; this machine is never reached through one.

    HTTPS_PROXY, HTTP_PROXY and ALL_PROXY count in both spellings, the lower-case one first, except
    HTTP_PROXY, which a web server may set from a request's header.
    """
    parts = urlsplit(url)
    if is_loopback(url) or proxy_bypass_environment(
        parts.hostname or "", {"no": _lookup(environment, "no_proxy") or ""}
    ):
        return None
    return _lookup(environment, f"{parts.scheme}_proxy") or _lookup(environment, "all_proxy")


def _lookup(environment: Mapping[str, str], name: str) -> str | None:
    if name == "http_proxy":
        return environment.get(name) or None
    return environment.get(name) or environment.get(name.upper()) or None
