"""A network of one canister's worth, for tests of the wire: it signs, and it can misbehave.

It shares no code with what it tests; hash tree, certificates and request ids are written out here.
"""

import hashlib
import socket
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import cbor2
import pyblst
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

TAG = b"\xd9\xd9\xf7"
DST = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"
BLS_DER = bytes.fromhex(
    "308182301d060d2b0601040182dc7c0503010201060c2b0601040182dc7c05030201036100"
)
G2 = pyblst.BlstP2Element.uncompress(
    bytes.fromhex(
        "93e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57"
        "e5ac7d055d042b7e024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d177"
        "0bac0326a805bbefd48056c8c121bdb8"
    )
)
SUBNET = b"\x07" * 28 + b"\x02"


class BlsKey:
    def __init__(self, secret: int) -> None:
        self.secret = secret
        self.der = BLS_DER + bytes(G2.scalar_mul(secret).compress())

    def sign(self, message: bytes) -> bytes:
        point = pyblst.BlstP1Element.hash_to_group(message, DST)
        return bytes(point.scalar_mul(self.secret).compress())


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def leb(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def tree_of(content: Any) -> list[Any]:
    """A hash tree of nested dicts."""
    if isinstance(content, bytes):
        return [3, content]
    nodes = [[2, label, tree_of(content[label])] for label in sorted(content)]
    if not nodes:
        return [0]
    while len(nodes) > 1:
        pairs = [nodes[i : i + 2] for i in range(0, len(nodes), 2)]
        nodes = [[1, *pair] if len(pair) == 2 else pair[0] for pair in pairs]
    return nodes[0]


def digest(tree: list[Any]) -> bytes:
    kind = tree[0]
    if kind == 0:
        return sha(b"\x11ic-hashtree-empty")
    if kind == 1:
        return sha(b"\x10ic-hashtree-fork", digest(tree[1]), digest(tree[2]))
    if kind == 2:
        return sha(b"\x13ic-hashtree-labeled", tree[1], digest(tree[2]))
    if kind == 3:
        return sha(b"\x10ic-hashtree-leaf", tree[1])
    return tree[1]


def certificate(
    key: BlsKey, tree: list[Any], delegation: dict[str, bytes] | None = None, *, tag: bool = True
) -> bytes:
    found: dict[str, Any] = {
        "tree": tree,
        "signature": key.sign(b"\x0dic-state-root" + digest(tree)),
    }
    if delegation is not None:
        found["delegation"] = delegation
    return (TAG if tag else b"") + cbor2.dumps(found)


def delegation_of(
    root: BlsKey, subnet_key: BlsKey, ranges: list[tuple[bytes, bytes]], *, sharded: bool
) -> dict[str, bytes]:
    leaf = TAG + cbor2.dumps([list(pair) for pair in ranges])
    if sharded:
        content = {
            b"canister_ranges": {SUBNET: {ranges[0][0] if ranges else b"": leaf}},
            b"subnet": {SUBNET: {b"public_key": subnet_key.der}},
        }
    else:
        content = {b"subnet": {SUBNET: {b"public_key": subnet_key.der, b"canister_ranges": leaf}}}
    content[b"time"] = leb(1_600_000_000_000_000_000)
    return {"subnet_id": SUBNET, "certificate": certificate(root, tree_of(content))}


def hash_any(value: Any) -> bytes:
    if isinstance(value, dict):
        return hash_map(value)
    if isinstance(value, list):
        return sha(*[hash_any(each) for each in value])
    if isinstance(value, int):
        return sha(leb(value))
    return sha(value.encode() if isinstance(value, str) else value)


def hash_map(content: dict[str, Any]) -> bytes:
    pairs = sorted(sha(key.encode()) + hash_any(value) for key, value in content.items())
    return sha(*pairs)


@dataclass
class Refusal:
    """A rejection; `certified` ones are in the state, others are told by the node."""

    code: int = 4
    message: str = "no"
    error_code: str | None = "IC0406"
    certified: bool = True


@dataclass
class Request:
    kind: str
    path: str
    content: dict[str, Any]
    envelope: dict[str, Any]
    body: bytes


Fault = Callable[["Handler", Request], bool]
"""Answers in the network's place; False lets the network go on."""


@dataclass
class FakeNetwork:
    """Serves one subnet, with a delegation or without."""

    delegated: bool = False
    sharded: bool = True
    tag: bool = True
    now: Callable[[], float] = time.time
    ranges: list[tuple[bytes, bytes]] = field(
        default_factory=lambda: [(b"\x00" * 10, b"\xff" * 10)]
    )
    methods: dict[str, Callable[[bytes], bytes | Refusal]] = field(default_factory=dict)
    faults: dict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    requests: list[Request] = field(default_factory=list)
    executed: list[bytes] = field(default_factory=list)
    state: dict[bytes, dict[bytes, bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root = BlsKey(0x1234567)
        self.subnet = BlsKey(0x7654321) if self.delegated else self.root
        root_id = hashlib.sha224(self.root.der).digest() + b"\x02"
        self.subnet_id = SUBNET if self.delegated else root_id
        self.delegation = (
            delegation_of(self.root, self.subnet, self.ranges, sharded=self.sharded)
            if self.delegated
            else None
        )
        self.node = Ed25519PrivateKey.from_private_bytes(b"\x05" * 32)
        self.node_id = b"\x09" * 29
        self.node_der = (
            bytes.fromhex("302a300506032b6570032100") + self.node.public_key().public_bytes_raw()
        )
        self.lock = threading.Lock()
        self.release = threading.Event()

    def __enter__(self) -> Self:
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.network = self
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def certify(self, content: dict[bytes, Any]) -> bytes:
        content = {b"time": leb(int(self.now() * 1e9)), **content}
        return certificate(self.subnet, tree_of(content), self.delegation, tag=self.tag)

    def run(self, request: Request) -> Refusal | None:
        """Execute a call once; gives the refusal that the node tells on its own."""
        rid = hash_map(request.content)
        with self.lock:
            if rid in self.state:
                return None
            self.executed.append(rid)
            outcome = self.methods[request.content["method_name"]](request.content["arg"])
            if isinstance(outcome, Refusal):
                if not outcome.certified:
                    return outcome
                self.state[rid] = {
                    b"status": b"rejected",
                    b"reject_code": leb(outcome.code),
                    b"reject_message": outcome.message.encode(),
                }
                if outcome.error_code:
                    self.state[rid][b"error_code"] = outcome.error_code.encode()
            else:
                self.state[rid] = {b"status": b"replied", b"reply": outcome}
            return None

    def status_certificate(self, rid: bytes) -> bytes:
        known = self.state.get(rid)
        return self.certify({b"request_status": {} if known is None else {rid: known}})

    def signed_query(self, content: dict[str, Any]) -> dict[str, Any]:
        outcome = self.methods[content["method_name"]](content["arg"])
        answer: dict[str, Any] = {"status": "replied", "reply": {"arg": outcome}}
        if isinstance(outcome, Refusal):
            answer = {
                "status": "rejected",
                "reject_code": outcome.code,
                "reject_message": outcome.message,
            }
            if outcome.error_code:
                answer["error_code"] = outcome.error_code
        stamp = int(self.now() * 1e9)
        message = hash_map({**answer, "timestamp": stamp, "request_id": hash_map(content)})
        signature = self.node.sign(b"\x0bic-response" + message)
        sigs = [{"timestamp": stamp, "signature": signature, "identity": self.node_id}]
        return {**answer, "signatures": sigs}


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    network: FakeNetwork

    def handle_error(self, *_: object) -> None:
        """Clients that hang up are part of the tests."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    disable_nagle_algorithm = True
    server: Server

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def cbor(self, found: Any, status: int = 200) -> None:
        tag = TAG if self.server.network.tag else b""
        self.answer(status, tag + cbor2.dumps(found))

    def hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def do_GET(self) -> None:
        network = self.server.network
        request = Request("status", self.path, {}, {}, b"")
        if not self._fault(request):
            self.cbor({"root_key": network.root.der, "replica_health_status": "healthy"})

    def do_POST(self) -> None:
        network = self.server.network
        body = self.rfile.read(int(self.headers["content-length"]))
        envelope = cbor2.loads(body[3:])
        kind = self.path.rpartition("/")[2]
        request = Request(kind, self.path, envelope["content"], envelope, body)
        network.requests.append(request)
        if not self._fault(request):
            getattr(self, kind)(request)

    def _fault(self, request: Request) -> bool:
        faults = self.server.network.faults[request.kind]
        return bool(faults) and faults.popleft()(self, request)

    def call(self, request: Request) -> None:
        network = self.server.network
        refusal = network.run(request)
        if refusal is not None:
            found = {
                "status": "non_replicated_rejection",
                "reject_code": refusal.code,
                "reject_message": refusal.message,
            }
            if refusal.error_code:
                found["error_code"] = refusal.error_code
            self.cbor(found)
            return
        rid = hash_map(request.content)
        self.cbor({"status": "replied", "certificate": network.status_certificate(rid)})

    def read_state(self, request: Request) -> None:
        network = self.server.network
        path = request.content["paths"][0]
        if path[0] == b"request_status":
            self.cbor({"certificate": network.status_certificate(path[1])})
            return
        nodes = {network.node_id: {b"public_key": network.node_der}}
        content = {b"subnet": {network.subnet_id: {b"node": nodes}}}
        self.cbor({"certificate": network.certify(content)})

    def query(self, request: Request) -> None:
        self.cbor(self.server.network.signed_query(request.content))


# Faults


def status(code: int, body: bytes = b"", headers: dict[str, str] | None = None) -> Fault:
    def fault(handler: Handler, _request: Request) -> bool:
        handler.answer(code, body, headers)
        return True

    return fault


def raw(body: bytes) -> Fault:
    return status(200, body)


def drop(handler: Handler, _request: Request) -> bool:
    """Hang up before anything happens."""
    handler.hang_up()
    return True


def lose_reply(handler: Handler, request: Request) -> bool:
    """Execute, and hang up without an answer."""
    handler.server.network.run(request)
    handler.hang_up()
    return True


def hang(handler: Handler, _request: Request) -> bool:
    """Never answer."""
    handler.server.network.release.wait(20)
    handler.hang_up()
    return True


def accept(handler: Handler, request: Request) -> bool:
    """Execute, and answer 202."""
    handler.server.network.run(request)
    handler.answer(202, b"")
    return True


def tell_state(name: bytes | None) -> Fault:
    """Certify a status without a reply, or, for a read, that there is none."""

    def fault(handler: Handler, request: Request) -> bool:
        network = handler.server.network
        rid = (
            request.content["paths"][0][1]
            if request.kind == "read_state"
            else hash_map(request.content)
        )
        shown = {} if name is None else {rid: {b"status": name}}
        cert = network.certify({b"request_status": shown})
        handler.cbor({"status": "replied", "certificate": cert})
        return True

    return fault


def passing(_handler: Handler, _request: Request) -> bool:
    """No fault: lets one request through before the next fault."""
    return False
