"""Which endpoint a URL means, and whether a request may be sent to that URL.

Source: interface specification, "HTTPS interface", "Effective canister id", "Effective subnet id".
"""

import re
from dataclasses import dataclass
from typing import Final

from dfx_backup.replica import principal
from dfx_backup.replica.auth import Request, RequestError
from dfx_backup.replica.faults import RequestKind
from dfx_backup.replica.read_state import Place
from dfx_backup.replica.replica import Replica

__all__ = ["Route", "check_effective_id", "find_route"]

_PATTERN: Final = re.compile(
    r"/api/v(?P<version>[234])/(?P<scope>canister|subnet)/(?P<id>[^/]+)"
    r"/(?P<kind>call|query|read_state)"
)
_STATUS_PATH: Final = "/api/v2/status"
_SERVED: Final = frozenset(
    {
        ("canister", "call", 2),
        ("canister", "call", 3),
        ("canister", "call", 4),
        ("subnet", "call", 4),
        ("canister", "query", 2),
        ("canister", "query", 3),
        ("subnet", "query", 3),
        ("canister", "read_state", 2),
        ("canister", "read_state", 3),
        ("subnet", "read_state", 2),
        ("subnet", "read_state", 3),
    }
)
_CREATING: Final = frozenset({"create_canister", "provisional_create_canister_with_cycles"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Place):
    """An endpoint of ours.

    Attributes:
        kind: what it serves.
    """

    kind: RequestKind


def find_route(method: str, path: str) -> Route:
    """Find the endpoint of a URL path.

    Raises:
        RequestError: 400, 404 or 405; there is none.
    """
    plain = path.split("?", 1)[0]
    if plain == _STATUS_PATH:
        if method != "GET":
            raise RequestError(f"{plain} takes GET, not {method}", status=405)
        return Route(scope="canister", id=b"", version=2, kind="status")
    match = _PATTERN.fullmatch(plain)
    if match is None:
        raise RequestError(f"There is nothing at {plain}", status=404)
    scope, kind, version = match["scope"], match["kind"], int(match["version"])
    if (scope, kind, version) not in _SERVED:
        raise RequestError(f"There is no {kind} of version {version} for a {scope}", status=404)
    if method != "POST":
        raise RequestError(f"{plain} takes POST, not {method}", status=405)
    try:
        place = principal.from_text(match["id"])
    except ValueError as error:
        raise RequestError(f"Bad {scope} id in the URL: {error}") from error
    return Route(
        scope="canister" if scope == "canister" else "subnet",
        id=place,
        version=version,
        kind=_KINDS[kind],
    )


_KINDS: Final[dict[str, RequestKind]] = {
    "call": "call",
    "query": "query",
    "read_state": "read_state",
}


def check_effective_id(request: Request, route: Route, replica: Replica, subnet_id: bytes) -> None:
    """Check that a call or query was sent to the URL that belongs to it.

    Raises:
        RequestError: it belongs somewhere else.
    """
    free = _CREATING if request.kind == "call" else frozenset({"list_canisters"})
    to_management = request.canister_id == principal.MANAGEMENT
    if route.scope == "subnet":
        if not to_management or request.method not in free:
            raise RequestError(f"A subnet takes no {request.kind} of {request.method!r}")
        _compare(route.id, subnet_id, "subnet")
        return
    if not to_management:
        _compare(route.id, request.canister_id, "canister")
        return
    if request.method in free or replica.management is None:
        return
    target = replica.management.effective_canister_id(request.method, request.arg)
    if target is not None:
        _compare(route.id, target, "canister")


def _compare(given: bytes, wanted: bytes, scope: str) -> None:
    if given != wanted:
        raise RequestError(
            f"Effective {scope} id {principal.to_text(given)} in the URL does not match "
            f"{principal.to_text(wanted)}, which the request is about"
        )
