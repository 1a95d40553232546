from typing import Any

from ic.agent import Agent

class Canister:
    def __init__(self, agent: Agent, canister_id: str, candid: str | None = ...) -> None: ...
    def __getattr__(self, name: str) -> Any: ...
