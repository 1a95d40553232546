from typing import Any

class Agent:
    identity: Any
    client: Any
    root_key: bytes | None
    def __init__(
        self,
        identity: Any,
        client: Any,
        nonce_factory: Any = ...,
        ingress_expiry: int = ...,
        root_key: bytes | None = ...,
    ) -> None: ...
    def poll(self, canister_id: Any, req_id: bytes, delay: float = ..., timeout: float = ...) -> Any: ...
