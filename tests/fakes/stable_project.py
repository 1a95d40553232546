"""A project whose canister `note` is built from the Rust kit, over an embedded replica.

with StableProject.start(tmp_path) as project:
    project.fill(0, 160, seed=1)
    code, told = project.run("stable", "export", "note", "--stream", "ballast", "--file", "copy")
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dfx_backup.replica.candid import Codec
from tests.contract.replica_bench import identity
from tests.fakes.transfer_project import TransferProject

ROOT = Path(__file__).parents[2]
RUST = ROOT / "examples" / "kit-rust"
PAGE = 65536


class StableProject(TransferProject):
    """Calls the app's methods as `alice`, too."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.install("reinstall")
        self.app = Codec.from_did((RUST / "kit_rust.did").read_text(encoding="utf-8"))

    def install(self, mode: str, **more: Any) -> None:
        wasm = (RUST / "kit_rust.wasm").read_bytes()
        sender = identity("alice").principal.raw
        self.server.replica.install(
            self.snapshots.raw, wasm, b"DIDL\0\0", mode, sender=sender, **more
        )

    def use(self, wasm: bytes, app: Codec) -> None:
        """Another module, with nothing in it."""
        sender = identity("alice").principal.raw
        self.server.replica.install(
            self.snapshots.raw, wasm, b"DIDL\0\0", "reinstall", sender=sender
        )
        self.app = app

    def send(self, method: str, *values: Any) -> Any:
        """An update of the app."""
        arg = self.app.encode_args(method, *values)
        sender = identity("alice").principal.raw
        answer = self.server.replica.ingress(sender, self.snapshots.raw, method, arg).get()
        return next(iter(self.app.decode_reply(method, answer)), None)

    def fill(self, first: int, pages: int, *, seed: int) -> None:
        """Pages of the ballast: bytes that follow from the seed, or zeros."""
        step = 256
        for at in range(first, first + pages, step):
            self.send("fill", at, min(step, first + pages - at), seed)

    @contextmanager
    def restless(self) -> Iterator[None]:
        """Inside the block somebody writes to the ballast all the time."""
        stop = threading.Event()

        def write() -> None:
            seed = 10
            while not stop.is_set():
                seed += 1
                self.fill(seed * 7 % 200, 1, seed=seed)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            yield
        finally:
            stop.set()
            writer.join()

    def ballast(self) -> bytes:
        """The ballast as the canister has it."""
        [size] = [
            each["size"] for each in self.ask("backup_info")["streams"] if each["name"] == "ballast"
        ]
        return self.read("ballast", 0, size)

    def read(self, stream: str, offset: int, length: int) -> bytes:
        """Bytes of a stream."""
        parts = []
        for at in range(offset, offset + length, 1 << 20):
            size = min(1 << 20, offset + length - at)
            parts.append(self.ask("backup_read", {"stream": stream, "offset": at, "length": size}))
        return b"".join(parts)

    def ask(self, method: str, *values: Any) -> Any:
        """A query of the kit; what is in `ok`."""
        sender = identity("alice").principal.raw
        arg = self.app.encode_args(method, *values)
        answer = self.server.replica.query(sender, self.snapshots.raw, method, arg)
        case, value = self.app.decode_reply(method, answer)[0]
        assert case == "ok", value
        return value

    def stable_memory(self) -> bytes:
        """All of the stable memory."""
        stable = self.canister.stable
        blob = getattr(stable, "blob", stable)
        found: bytes = blob.read(0, blob.size)
        return found
