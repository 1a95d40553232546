"""Who may read which paths of the state, and the tree that answers a request.

Source: interface specification, "Request: Read state".
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from dfx_backup.replica import principal
from dfx_backup.replica.auth import Request, RequestError
from dfx_backup.replica.certificate import Pruned, Tree
from dfx_backup.replica.keys import ReplicaKeys
from dfx_backup.replica.replica import Replica
from dfx_backup.replica.request_log import Entry, RequestLog, status_tree
from dfx_backup.replica.state_tree import (
    Ranges,
    canister_tree,
    metrics_leaf,
    ranges_tree,
    subnet_tree,
    time_leaf,
)

__all__ = ["Place", "StateReader"]

Path = tuple[bytes, ...]

_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404
_STATUS_LEAVES: Final = frozenset(
    {b"status", b"reply", b"reject_code", b"reject_message", b"error_code"}
)
_CANISTER_LEAVES: Final = frozenset(
    {b"module_hash", b"controllers", b"canister_creation_timestamp", b"last_install_timestamp"}
)
_SUBNET_LEAVES: Final = frozenset({b"public_key", b"type", b"node", b"canister_ranges", b"metrics"})
_BOUNDARY_LEAVES: Final = frozenset({b"domain", b"ipv4_address", b"ipv6_address"})
_HIDDEN: Final = Pruned(bytes(32))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a request was sent to.

    Attributes:
        scope: which kind of id the URL holds.
        id: canister id or subnet id.
        version: of the endpoint, 2 to 4.
    """

    scope: Literal["canister", "subnet"]
    id: bytes
    version: int


class StateReader:
    """Checks paths and builds trees.

    Args:
        replica: whose state it is.
        keys: of the replica.
        log: of calls.
        ranges: gives the ranges of the subnet.
        show_status: makes the tree of a call's status.
        transactions: gives the number of calls executed.
    """

    def __init__(
        self,
        replica: Replica,
        keys: ReplicaKeys,
        log: RequestLog,
        *,
        ranges: Callable[[], Ranges],
        show_status: Callable[[Entry], Tree] = status_tree,
        transactions: Callable[[], int] = lambda: 0,
    ) -> None:
        self._replica = replica
        self._keys = keys
        self._log = log
        self._ranges = ranges
        self._show_status = show_status
        self._transactions = transactions

    def check(self, request: Request, place: Place) -> None:
        """Check that the sender may read the paths here.

        Raises:
            RequestError: 400 wrong place or combination, 403 not allowed, 404 no such path.
        """
        for head, what in ((b"request_status", "request id"), (b"canister_ranges", "subnet id")):
            if len({path[1:2] for path in request.paths if path[:1] == (head,)}) > 1:
                raise RequestError(f"All {head.decode()} paths must be about one {what}")
        for path in request.paths:
            self._check_path(path, request, place)

    def _check_path(self, path: Path, request: Request, place: Place) -> None:
        match path:
            case (b"time",) | (b"subnet",) | (b"subnet", _) | (b"api_boundary_nodes",):
                return
            case (b"api_boundary_nodes", _, *rest):
                known = len(rest) <= 1 and _BOUNDARY_LEAVES.issuperset(rest)
            case (b"subnet", subnet_id, leaf, *rest):
                known = leaf in _SUBNET_LEAVES and self._check_subnet(subnet_id, leaf, rest, place)
            case (b"canister_ranges", _):
                known = place.scope == "subnet"
            case (b"request_status", request_id, *rest):
                known = len(rest) <= 1 and _STATUS_LEAVES.issuperset(rest)
                self._check_status(request_id, request, place)
            case (b"canister", canister_id, *rest):
                known = self._check_canister(canister_id, rest, request, place)
            case _:
                known = False
        if not known:
            raise RequestError(f"Invalid path requested: {_written(path)}", status=_NOT_FOUND)

    def _check_subnet(self, subnet_id: bytes, leaf: bytes, rest: list[bytes], place: Place) -> bool:
        if leaf == b"node":
            return len(rest) <= 2 and rest[1:] in ([], [b"public_key"])
        if rest:
            return False
        if leaf == b"metrics":
            return place.scope == "subnet" and place.id == subnet_id
        if leaf == b"canister_ranges":
            return place.version == 2 or subnet_id == self._keys.root_subnet_id
        return True

    def _check_status(self, request_id: bytes, request: Request, place: Place) -> None:
        if len(request_id) != 32:
            raise RequestError(f"Invalid request id of {len(request_id)} bytes, 32 are needed")
        entry = self._log.find(request_id)
        if entry is None:
            return
        if entry.request.sender != request.sender:
            raise RequestError(
                "The status of a request can be read by its sender only", status=_FORBIDDEN
            )
        if entry.effective != place.id:
            raise RequestError(
                "The status must be read where the request was sent to: "
                f"{principal.to_text(entry.effective)}, not {principal.to_text(place.id)}"
            )
        if request.targets is not None and entry.request.canister_id not in request.targets:
            raise RequestError(
                "The delegation does not allow requests to this canister", status=_FORBIDDEN
            )

    def _check_canister(
        self, canister_id: bytes, rest: list[bytes], request: Request, place: Place
    ) -> bool:
        if place.scope != "canister" or place.id != canister_id:
            raise RequestError(
                f"Effective canister id {principal.to_text(place.id)} in the URL does not match "
                f"the requested {principal.to_text(canister_id)}"
            )
        match rest:
            case [leaf]:
                return leaf in _CANISTER_LEAVES
            case [b"metadata", name]:
                self._check_metadata(canister_id, name, request.sender)
                return True
        return False

    def _check_metadata(self, canister_id: bytes, name: bytes, sender: bytes) -> None:
        try:
            text = name.decode("utf-8")
        except UnicodeDecodeError as error:
            raise RequestError("The name of a custom section must be UTF-8") from error
        with self._replica.lock:
            canister = self._replica.canisters.get(canister_id)
            if canister is None or canister.module is None:
                return
            section = canister.module.metadata.get(text)
            allowed = section is None or section[0] or sender in canister.controllers
        if not allowed:
            raise RequestError(
                f"Custom section {text!r} can be read by controllers only", status=_FORBIDDEN
            )

    def tree(self, paths: Iterable[Path], place: Place, now_ns: int) -> Tree:
        """The state, with everything in it that the paths may show.

        Args:
            paths: checked before.
            place: some values are shown at some endpoints only.
            now_ns: the time that is certified.
        """
        wanted = [path for path in paths if path]
        heads = {path[0] for path in wanted}
        ranges = self._ranges()
        state: dict[bytes, Tree] = {
            b"api_boundary_nodes": {},
            b"canister": _HIDDEN,
            b"canister_ranges": _HIDDEN,
            b"request_status": _HIDDEN,
            b"subnet": _HIDDEN,
            b"time": time_leaf(now_ns),
        }
        if b"canister" in heads:
            asked = {path[1] for path in wanted if path[0] == b"canister"}
            state[b"canister"] = canister_tree(self._replica, asked)
        if b"canister_ranges" in heads:
            state[b"canister_ranges"] = {self._keys.subnet_id: ranges_tree(ranges)}
        if b"subnet" in heads:
            state[b"subnet"] = subnet_tree(
                self._keys,
                ranges,
                metrics_leaf(self._replica, self._transactions()),
                show_flat_ranges=place.version == 2,
            )
        if b"request_status" in heads:
            asked = {path[1] for path in wanted if path[0] == b"request_status"}
            state[b"request_status"] = self._statuses(asked)
        return state

    def _statuses(self, asked: set[bytes]) -> Tree:
        tree: dict[bytes, Tree] = {}
        for request_id in asked:
            entry = self._log.find(request_id)
            if entry is not None:
                tree[request_id] = self._show_status(entry)
            else:
                tree.update(dict.fromkeys(self._log.neighbours(request_id), _HIDDEN))
        return tree


def _written(path: Path) -> str:
    return "/" + "/".join(
        label.decode() if label.isascii() and label.decode().isprintable() else label.hex()
        for label in path
    )
