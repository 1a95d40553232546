"""Installing code: in one message, or through the chunk store where it is too large for that."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable

from dfx_backup.ic import management_types as types
from dfx_backup.ic.candid import decode, encode
from dfx_backup.ic.principal import Principal
from dfx_backup.model import CanisterId, SentCall

BeforeSend = Callable[[SentCall], None]
"""Called with what must be journaled, right before a call leaves; raising keeps it back."""

CHANGE_EXPIRY_S = 240.0
"""Seconds for which a call that changes something can execute."""
HELD_EXPIRY_S = 60.0
"""A stop, take or load whose answer is lost must not linger: it could execute after our start."""

NO_ARGUMENT = b"DIDL\x00\x00"
"""Nothing, in Candid."""

_MAX_PLAIN_MODULE = 1_900_000
_CHUNK_BYTES = 1024 * 1024


class CodeInstaller(ABC):
    """The part of `management.ManagementCanister` that installs code."""

    def install_code(
        self,
        canister: CanisterId,
        module: bytes,
        *,
        arg: bytes = NO_ARGUMENT,
        mode: types.InstallMode = "install",
        skip_pre_upgrade: bool | None = None,
        keep_memory: bool | None = None,
        before_send: BeforeSend | None = None,
    ) -> None:
        """`install_code`; a module too large for one message goes through the chunk store.

        Args:
            canister: into which canister.
            module: the Wasm module, compressed or not.
            arg: the argument in Candid.
            mode: what becomes of what is there.
            skip_pre_upgrade: upgrades only: leave the old module's hook out.
            keep_memory: upgrades only: keep (True) or replace (False) the Wasm memory.
            before_send: see `BeforeSend`; not called for chunks. With it the call expires soon.
        """
        target = Principal.from_text(canister)
        variant = (mode, types.upgrade_options(mode, skip_pre_upgrade, keep_memory))
        expiry_s = CHANGE_EXPIRY_S if before_send is None else HELD_EXPIRY_S
        if not needs_chunks(module, arg):
            record = {"mode": variant, "canister_id": target, "wasm_module": module, "arg": arg}
            method, sent = "install_code", encode([types.INSTALL_ARGS], [record])
        else:
            hashes = [
                {"hash": self.upload_chunk(canister, module[at : at + _CHUNK_BYTES])}
                for at in range(0, len(module), _CHUNK_BYTES)
            ]
            record = {
                "mode": variant,
                "target_canister": target,
                "chunk_hashes_list": hashes,
                "wasm_module_hash": hashlib.sha256(module).digest(),
                "arg": arg,
            }
            method, sent = "install_chunked_code", encode([types.INSTALL_CHUNKED_ARGS], [record])
        self._change(canister, method, sent, before_send=before_send, expiry_s=expiry_s)

    def upload_chunk(self, canister: CanisterId, chunk: bytes) -> bytes:
        """`upload_chunk`: at most 1 MiB into the canister's chunk store; returns its SHA-256."""
        record = {"canister_id": Principal.from_text(canister), "chunk": chunk}
        reply = self._change(canister, "upload_chunk", encode([types.UPLOAD_CHUNK_ARGS], [record]))
        hash_: bytes = decode(reply, [types.CHUNK_HASH])[0]["hash"]
        return hash_

    def clear_chunk_store(self, canister: CanisterId) -> None:
        """`clear_chunk_store`."""
        about = encode([types.CANISTER], [{"canister_id": Principal.from_text(canister)}])
        self._change(canister, "clear_chunk_store", about)

    @abstractmethod
    def _change(
        self,
        canister: CanisterId,
        method: str,
        arg: bytes,
        *,
        before_send: BeforeSend | None = None,
        expiry_s: float = CHANGE_EXPIRY_S,
        timeout_s: float | None = None,
    ) -> bytes:
        """Make a call that changes something; returns its certified reply."""


def needs_chunks(module: bytes, arg: bytes = NO_ARGUMENT) -> bool:
    """Whether a module goes through the chunk store."""
    return len(module) + len(arg) > _MAX_PLAIN_MODULE
