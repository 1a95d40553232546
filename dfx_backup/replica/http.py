"""The HTTP interface as a function: method, path and body in, status and body out.

Source: interface specification, "HTTPS interface". `Edge.handle` needs no socket; `server` puts it
behind one. Latencies are slept here; connections are dropped, cut and left hanging by the server,
as the response says.
"""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from typing import Final

import cbor2

from dfx_backup.replica import principal
from dfx_backup.replica.auth import RequestError, open_envelope
from dfx_backup.replica.certificate import SELF_DESCRIBED, Tree, bytes_head
from dfx_backup.replica.certifier import Certifier, Defect, Form
from dfx_backup.replica.faults import RequestKind
from dfx_backup.replica.ingress import CallDesk, Ticket
from dfx_backup.replica.injector import FaultInjector
from dfx_backup.replica.keys import ReplicaKeys
from dfx_backup.replica.read_state import Place, StateReader
from dfx_backup.replica.reject import Reject, ReplicaFailedError
from dfx_backup.replica.replica import Replica
from dfx_backup.replica.request_log import Entry, RequestLog, status_tree
from dfx_backup.replica.routes import Route, check_effective_id, find_route
from dfx_backup.replica.state_tree import Ranges, canister_ranges, canister_tree, time_leaf

__all__ = ["MAX_BODY", "Edge", "Response"]

MAX_BODY: Final = 5 * 1024 * 1024
MAX_INGRESS: Final = 2 * 1024 * 1024
SYNC_TIMEOUT_S: Final = 10.0
VERSION: Final = "dfx-backup development replica"

_CBOR: Final = "application/cbor"
_TEXT: Final = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What the server does.

    Attributes:
        status: HTTP status.
        body: of the answer.
        content_type: of the answer.
        hang_s: wait so many seconds first.
        drop: close the connection instead of answering.
        truncate: promise the whole body, send half of it and close the connection.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = _CBOR
    hang_s: float = 0.0
    drop: bool = False
    truncate: bool = False


def text_response(status: int, message: str) -> Response:
    """An answer for people."""
    return Response(status=status, body=message.encode(), content_type=_TEXT)


class _Inline(Executor):
    """Executes in the caller's thread."""

    def submit(  # type: ignore[override]  # calls without arguments are all we need
        self, fn: Callable[[], None], /
    ) -> "Future[None]":
        future: Future[None] = Future()
        fn()
        future.set_result(None)
        return future


class Edge:
    """Serves the HTTP interface of one replica.

    Args:
        replica: executes.
        keys: sign.
        injector: makes faults and counts.
        executor: runs calls one after the other; None runs them in the caller's thread.
        sleep: waits so many seconds.
        sync_timeout_s: how long a call waits for its answer before 202.
        log: of calls.
        now_ns: the time that is certified; None takes the replica's, which has to wait for the
            message that is being executed.
    """

    def __init__(
        self,
        replica: Replica,
        keys: ReplicaKeys,
        injector: FaultInjector | None = None,
        *,
        executor: Executor | None = None,
        sleep: Callable[[float], object] = time.sleep,
        sync_timeout_s: float = SYNC_TIMEOUT_S,
        log: RequestLog | None = None,
        now_ns: Callable[[], int] | None = None,
    ) -> None:
        self.replica = replica
        self._now_ns = now_ns or replica.now_ns
        self.keys = keys
        self.injector = injector or FaultInjector()
        self.log = log or RequestLog(now_ns=self._now_ns)
        self.log.recall(replica.earlier)
        self._sleep = sleep
        self._sync_timeout_s = sync_timeout_s
        self._certifier = Certifier(keys)
        self._query_form = threading.local()
        self._calls = CallDesk(
            replica, self.log, self.injector, executor or _Inline(), self._now_ns
        )
        self._reader = StateReader(
            replica,
            keys,
            self.log,
            ranges=self._ranges,
            show_status=self._show_status,
            transactions=lambda: self._calls.executed,
        )
        replica.root_key = keys.root.public_der
        replica.subnet_id = keys.subnet_id
        replica.data_certificate = self._data_certificate

    def close(self) -> None:
        """Forget delayed calls; they never execute."""
        self._calls.close()

    def handle(self, method: str, path: str, body: bytes = b"") -> Response:
        """Serve one request.

        Args:
            method: "GET" or "POST".
            path: of the URL, without host.
            body: CBOR.
        """
        try:
            route = find_route(method, path)
        except RequestError as error:
            self.injector.enter("other", len(body))
            return self._leave("other", text_response(error.status, error.message))
        calls = self.injector.enter(route.kind, len(body))
        response = Response(drop=True)
        try:
            response = self._with_faults(route, body, calls)
        except RequestError as error:
            response = text_response(error.status, error.message)
        except ReplicaFailedError as error:
            response = text_response(500, str(error))
        finally:
            self._leave(route.kind, response)
        return response

    def _leave(self, kind: str, response: Response) -> Response:
        status = "dropped" if response.drop else str(response.status)
        self.injector.leave(kind, status, 0 if response.drop else len(response.body))
        return response

    def _with_faults(self, route: Route, body: bytes, calls_in_flight: int) -> Response:
        early = self._early_fault(route.kind, calls_in_flight)
        if early is not None:
            return early
        seconds = self.injector.latency_s(route.kind)
        if seconds:
            self._sleep(seconds)
        if len(body) > MAX_BODY:
            raise RequestError(f"The body is larger than {MAX_BODY} bytes", status=413)
        response = self._serve(route, body)
        if self.injector.strikes("drop_after", route.kind):
            return replace(response, drop=True)
        if self.injector.strikes("truncate", route.kind):
            return replace(response, truncate=True)
        return response

    def _early_fault(self, kind: RequestKind, calls_in_flight: int) -> Response | None:
        injector = self.injector
        if injector.strikes("hang", kind):
            return Response(drop=True, hang_s=injector.current.hang_s)
        if injector.strikes("drop_before", kind):
            return Response(drop=True)
        too_many = kind == "call" and injector.over_cap(calls_in_flight)
        if too_many or injector.strikes("too_many_requests", kind):
            return text_response(429, "Too many requests are being served; try again later")
        if injector.strikes("http_error", kind):
            return text_response(injector.current.http_error_status, "A fault switch says so")
        return None

    def _serve(self, route: Route, body: bytes) -> Response:
        match route.kind:
            case "status":
                return self._status()
            case "query":
                return self._query(route, body)
            case "read_state":
                return self._read_state(route, body)
            case "call":
                return self._call(route, body)

    # Status

    def _status(self) -> Response:
        return _cbor_response(
            {
                "root_key": self.keys.root.public_der,
                "impl_version": VERSION,
                "impl_source": "for development and tests only",
                "replica_health_status": "unhealthy" if self.replica.failure else "healthy",
            }
        )

    # Calls

    def _call(self, route: Route, body: bytes) -> Response:
        if len(body) > MAX_INGRESS:
            raise RequestError(
                f"The ingress message has {len(body)} bytes, allowed are {MAX_INGRESS}", status=413
            )
        request = open_envelope(body, "call", self._now_ns())
        check_effective_id(request, route, self.replica, self.keys.subnet_id)
        self.injector.note("calls", request.method)
        seconds = self.injector.method_latency_s(request.method)
        if seconds:
            self._sleep(seconds)
        ticket = self._calls.submit(request, route.id)
        try:
            return self._answer(ticket, route)
        finally:
            self.log.release(ticket.entry)

    def _answer(self, ticket: Ticket, route: Route) -> Response:
        entry = ticket.entry
        if entry.refusal is not None:
            return _refused(entry.refusal, route)
        if ticket.lost:
            return Response(drop=True)
        lost = self.injector.loses_reply(entry.request.method)
        waits = route.version >= 3 and not self._always_202() and not ticket.delayed
        if waits or lost:
            entry.finished.wait(self._sync_timeout_s)
            ticket.raise_failure()
        if lost:
            return Response(drop=True)
        if entry.refusal is not None:
            return _refused(entry.refusal, route)
        if not waits or not entry.finished_ns:
            return Response(status=202)
        return self._certified_call(entry, route)

    def _always_202(self) -> bool:
        if not self.injector.current.always_202:
            return False
        self.injector.count_injected("always_202")
        return True

    def _certified_call(self, entry: Entry, route: Route) -> Response:
        request_id = entry.request.request_id
        form: Form = "sharded" if route.version >= 4 else "flat"
        tree = self._reader.tree([], route, self._certified_time())
        assert isinstance(tree, Mapping)
        whole: Tree = {**tree, b"request_status": {request_id: status_tree(entry)}}
        pieces = self._certify(whole, [(b"request_status", request_id)], form)
        return _certificate_response(pieces, status="replied")

    # Queries

    def _query(self, route: Route, body: bytes) -> Response:
        request = open_envelope(body, "query", self._now_ns())
        check_effective_id(request, route, self.replica, self.keys.subnet_id)
        self.injector.note("queries", request.method)
        seconds = self.injector.method_latency_s(request.method)
        if seconds:
            self._sleep(seconds)
        self._query_form.form = "sharded" if route.version >= 3 else "flat"
        response: dict[str, object]
        try:
            self._calls.reject_by_fault(request.method)
            reply = self.replica.query(
                request.sender, request.canister_id, request.method, request.arg
            )
            response = {"status": "replied", "reply": {"arg": reply}}
        except Reject as reject:
            response = {"status": "rejected", **_reject_fields(reject)}
        signature = self._certifier.sign_response(
            response,
            request.request_id,
            self._certified_time(),
            defect=self.injector.strikes("bad_query_signature"),
        )
        return _cbor_response({**response, "signatures": [signature]})

    def _data_certificate(self, canister_id: bytes) -> bytes:
        """The certificate that a canister sees while it answers a query."""
        form: Form = getattr(self._query_form, "form", "flat")
        tree: Tree = {
            b"canister": canister_tree(self.replica, [canister_id]),
            b"time": time_leaf(self._certified_time()),
        }
        return b"".join(self._certify(tree, [(b"canister", canister_id, b"certified_data")], form))

    # Read state

    def _read_state(self, route: Route, body: bytes) -> Response:
        request = open_envelope(body, "read_state", self._now_ns())
        self._reader.check(request, route)
        tree = self._reader.tree(request.paths, route, self._certified_time())
        form: Form = "sharded" if route.version >= 3 else "flat"
        return _certificate_response(self._certify(tree, request.paths, form))

    def _show_status(self, entry: Entry) -> Tree:
        faults = self.injector.current
        wait_ns = int(faults.processing_s * 1e9)
        processing = bool(entry.finished_ns and wait_ns) and (
            self._now_ns() < entry.finished_ns + wait_ns
        )
        if processing or (faults.prune_replies and entry.finished_ns):
            self.injector.count_injected("processing_s" if processing else "prune_replies")
        return status_tree(entry, processing=processing, done=faults.prune_replies)

    # Certificates

    def _ranges(self) -> Ranges:
        return canister_ranges([*self.replica.canisters, *self.replica.natives])

    def _certified_time(self) -> int:
        stale_s = self.injector.current.stale_time_s
        if stale_s:
            self.injector.count_injected("stale_time_s")
        return max(0, self._now_ns() - int(stale_s * 1e9))

    def _certify(
        self, tree: Tree, paths: list[tuple[bytes, ...]] | tuple[tuple[bytes, ...], ...], form: Form
    ) -> list[bytes]:
        defect: Defect = None
        if self.injector.strikes("bad_signature"):
            defect = "signature"
        elif self.injector.strikes("wrong_subnet"):
            defect = "subnet"
        return self._certifier.certify(
            tree,
            paths,
            form=form,
            ranges=self._ranges(),
            now_ns=self._now_ns(),
            defect=defect,
        )


def _reject_fields(reject: Reject) -> dict[str, object]:
    return {
        "reject_code": reject.code,
        "reject_message": reject.message,
        "error_code": reject.error_code,
    }


def _refused(reject: Reject, route: Place) -> Response:
    fields = _reject_fields(reject)
    if route.version >= 3:
        fields = {"status": "non_replicated_rejection", **fields}
    return _cbor_response(fields)


def _cbor_response(value: Mapping[str, object]) -> Response:
    return Response(body=SELF_DESCRIBED + cbor2.dumps(value))


def _certificate_response(pieces: list[bytes], *, status: str | None = None) -> Response:
    size = sum(map(len, pieces))
    head = SELF_DESCRIBED + bytes([0xA1 if status is None else 0xA2])
    if status is not None:
        head += cbor2.dumps("status") + cbor2.dumps(status)
    head += cbor2.dumps("certificate") + bytes_head(size)
    return Response(body=b"".join([head, *pieces]))


def describe(keys: ReplicaKeys) -> str:
    """One line that tells people what is running."""
    return (
        f"{VERSION}: for development and tests only; keys and state are not protected. "
        f"Subnet {principal.to_text(keys.subnet_id)}"
    )
