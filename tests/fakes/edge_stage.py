"""An HTTP edge over a scripted replica, and short ways to talk to it."""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

import cbor2

from dfx_backup.replica.http import Edge, Response
from dfx_backup.replica.injector import FaultInjector
from dfx_backup.replica.keys import ReplicaKeys
from dfx_backup.replica.principal import to_text
from dfx_backup.replica.request_log import RequestLog
from tests.fakes import small_client as small
from tests.fakes.scripted_replica import OWN, ScriptedReplica

if TYPE_CHECKING:
    from collections.abc import Callable

    from dfx_backup.replica.replica import Replica

ROOT = ReplicaKeys.from_number(1)
DELEGATED = ReplicaKeys.from_number(1, delegation=True)
ME = small.ed25519_signer(1)
STRANGER = small.ed25519_signer(2)


class Stage:
    """Everything that a test of the edge needs."""

    def __init__(
        self, *, delegation: bool = False, threads: bool = False, sync_timeout_s: float = 5.0
    ) -> None:
        self.keys = DELEGATED if delegation else ROOT
        self.delegation = delegation
        self.replica = ScriptedReplica()
        self.faults = FaultInjector()
        self.slept: list[float] = []
        self.log = RequestLog()
        self.executor = ThreadPoolExecutor(1) if threads else None
        self.edge = Edge(
            cast("Replica", self.replica),
            self.keys,
            self.faults,
            executor=self.executor,
            sleep=cast("Callable[[float], object]", self.slept.append),
            sync_timeout_s=sync_timeout_s,
            log=self.log,
        )

    def close(self) -> None:
        self.edge.close()
        if self.executor is not None:
            self.executor.shutdown()

    def post(self, path: str, body: bytes) -> Response:
        return self.edge.handle("POST", path, body)

    def send(
        self,
        content: dict[str, Any],
        *,
        version: int = 4,
        place: bytes = OWN,
        signer: small.Signer | None = ME,
        scope: str = "canister",
    ) -> Response:
        kind = content["request_type"]
        path = f"/api/v{version}/{scope}/{to_text(place)}/{kind}"
        return self.post(path, small.envelope(content, signer))

    def call(self, method: str, arg: bytes = b"", **more: Any) -> Response:
        return self.send(call(method, arg), **more)

    def query(self, method: str, arg: bytes = b"", *, version: int = 3, **more: Any) -> Response:
        return self.send(call(method, arg, kind="query"), version=version, **more)

    def read(
        self, *paths: list[bytes], version: int = 3, signer: small.Signer | None = ME, **more: Any
    ) -> Response:
        sender = signer.principal if signer else small.ANONYMOUS
        content = small.read(*paths, sender=sender)
        return self.send(content, version=version, signer=signer, **more)

    def tree(self, response: Response, version: int, place: bytes | None = OWN) -> list[Any]:
        """The verified tree of an answer that holds a certificate."""
        assert response.status == 200, response.body
        form = None
        if self.delegation:
            kind = "call" if "status" in body(response) else "read_state"
            form = "sharded" if version >= (4 if kind == "call" else 3) else "flat"
        return small.check_certificate(
            body(response)["certificate"],
            ROOT.root.public_der,
            canister_id=place,
            subnet_id=self.keys.subnet_id,
            form=form,
        )

    def status_of(self, content: dict[str, Any]) -> Any:
        """What read_state says of a call, verified."""
        request_id = small.hash_value(content)
        response = self.read([b"request_status", request_id])
        tree = self.tree(response, 3)
        return small.lookup(tree, b"request_status", request_id, b"status")


def call(method: str, arg: bytes = b"", **more: Any) -> dict[str, Any]:
    return small.call(OWN, method, arg, sender=ME.principal, **more)


def body(response: Response) -> dict[str, Any]:
    """The CBOR of an answer, as plain dicts and lists."""
    assert response.content_type == "application/cbor"
    assert response.body.startswith(small.TAG)
    value = cbor2.loads(response.body.removeprefix(small.TAG))
    assert isinstance(value, dict)
    return value
