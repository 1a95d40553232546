"""Puts the stand-in dfx into a temporary folder, with a home of its own.

dfx = FakeDfx.install(tmp_path, version="0.30.1")
dfx.environment      # HOME, PATH and the roots of dfx, all below tmp_path
dfx.add_identity("alice", pem)
dfx.fault("canister stop", "hang after")
dfx.check()          # fails when it was called with an argv that it does not know
"""

import base64
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from tests.fakes.dfx.dfx import main

REPOSITORY = Path(__file__).resolve().parents[3]

VERSIONS = ("0.25.0", "0.30.1", "0.32.0")
"""The versions whose streams and texts it imitates; 0.22.0 is one without snapshots."""

_LAUNCHER = """\
#!{python}
import sys
sys.path.insert(0, {repository!r})
if sys.argv[1:] == ["--version"]:  # without half a second of imports
    from pathlib import Path
    from tests.fakes.dfx.manifest import FilesError, installed
    try:
        installed(Path({cache!r}) / "extensions")
        print("dfx {version}")
        sys.exit(0)
    except FilesError:
        pass
sys.modules["httpx._main"] = None  # httpx's command line, with a tenth of a second of imports
from tests.fakes.dfx.extension import die_on_interrupt
from tests.fakes.dfx.dfx import main
die_on_interrupt()
sys.exit(main({settings!r}, sys.argv[1:]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeDfx:
    """An installed stand-in.

    Attributes:
        home: HOME and the root of everything that dfx keeps.
        bin_dir: what PATH starts with; it holds `dfx`.
        version: the version that it imitates.
    """

    home: Path
    bin_dir: Path
    version: str

    @classmethod
    def install(cls, folder: Path, *, version: str = "0.32.0") -> "FakeDfx":
        home, bin_dir = folder / "home", folder / "bin"
        for place in (home, bin_dir):
            place.mkdir(parents=True, exist_ok=True)
        made = cls(home=home, bin_dir=bin_dir, version=version)
        made._settings.write_text(
            json.dumps({"version": version, "refused": str(made._refused), "faults": {}})
        )
        made.cache.mkdir(parents=True)
        for binary, mode in ((bin_dir / "dfx", 0o755), (made.cache / "dfx", 0o500)):
            text = _LAUNCHER.format(
                python=sys.executable,
                version=version,
                repository=str(REPOSITORY),
                settings=str(made._settings),
                cache=str(made.cache),
            )
            binary.write_text(text)
            binary.chmod(mode)
        return made

    @property
    def _settings(self) -> Path:
        return self.bin_dir / "dfx.settings.json"

    @property
    def _refused(self) -> Path:
        return self.bin_dir / "dfx.refused"

    @property
    def cache(self) -> Path:
        """What dfx passes as --dfx-cache-path."""
        return self.home / ".cache" / "dfinity" / "versions" / self.version

    @property
    def config(self) -> Path:
        return self.home / ".config" / "dfx"

    @property
    def environment(self) -> dict[str, str]:
        """A user's environment in which only this dfx is found."""
        return {
            "HOME": str(self.home),
            "DFX_CONFIG_ROOT": str(self.home),
            "DFX_CACHE_ROOT": str(self.home),
            "XDG_DATA_HOME": str(self.home / "data"),
            "XDG_STATE_HOME": str(self.home / "state"),
            "XDG_CACHE_HOME": str(self.home / "xdg-cache"),
            "PATH": f"{self.bin_dir}:/usr/bin:/bin",
            "TERM": "dumb",
        }

    # -- what a test arranges ---------------------------------------------------------------------

    def set(self, **settings: object) -> None:
        """Change settings such as `ic_url` or `call_timeout_s`."""
        known = json.loads(self._settings.read_text())
        self._settings.write_text(json.dumps(known | settings))

    def fault(self, command: str, what: str | None) -> None:
        """Let `command` go wrong: "die before|after", "hang before|after", "silent", or None."""
        faults = json.loads(self._settings.read_text())["faults"]
        faults[command] = what or ""
        self.set(faults=faults)

    def add_identity(self, name: str, pem: bytes, *, select: bool = True) -> None:
        """Store a plaintext identity."""
        folder = self._identity_folder(name)
        (folder / "identity.pem").write_bytes(pem)
        (folder / "identity.pem").chmod(0o400)
        self._select(name, select=select)

    def add_encrypted_identity(
        self, name: str, pem: bytes, *, password: str, select: bool = True
    ) -> None:
        """Store an identity behind a password, in dfx's own scheme."""
        salt, nonce = os.urandom(32).hex(), os.urandom(12)
        kdf = Argon2id(
            salt=base64.b64decode(salt), length=32, iterations=3, lanes=1, memory_cost=64000
        )
        sealed = AESGCM(kdf.derive(password.encode())).encrypt(nonce, pem, None)
        folder = self._identity_folder(name)
        (folder / "identity.pem.encrypted").write_bytes(sealed)
        about = {"pw_salt": salt, "file_nonce": list(nonce)}
        (folder / "identity.json").write_text(
            json.dumps({"hsm": None, "encryption": about, "keyring_identity_suffix": None})
        )
        self._select(name, select=select)

    def add_extension(self, name: str, script: str, *, manifest: str | None = None) -> Path:
        """Install an extension that is a script with a shebang; with our manifest by default."""
        folder = self.cache / "extensions" / name
        folder.mkdir(parents=True)
        told = manifest or (REPOSITORY / "extension.json").read_text(encoding="utf-8")
        (folder / "extension.json").write_text(told, encoding="utf-8")
        binary = folder / name
        binary.write_text(script)
        binary.chmod(0o500)
        return binary

    def point_local_at(self, url: str) -> None:
        """Let the shared network `local` be the replica at this loopback URL."""
        folder = self.home / "data" / "dfx" / "network" / "local"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "webserver-port").write_text(url.rstrip("/").rpartition(":")[2])

    def run(
        self, *argv: str, cwd: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run it as a user would, without a terminal."""
        return subprocess.run(
            [str(self.bin_dir / "dfx"), *argv],
            env=self.environment | environment,
            cwd=cwd or self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def run_inside(self, *argv: str, **environment: str) -> int:
        """Run it in this very process, for command lines that it does not get far with."""
        return main(str(self._settings), list(argv), environ=self.environment | environment)

    def refused(self) -> list[dict[str, object]]:
        """The argvs that it did not know, and why; and forget them."""
        if not self._refused.exists():
            return []
        notes = [json.loads(line) for line in self._refused.read_text().splitlines()]
        self._refused.unlink()
        return notes

    def check(self) -> None:
        """Fail when it was called with anything that it does not know."""
        assert self.refused() == []

    def _identity_folder(self, name: str) -> Path:
        folder = self.config / "identity" / name
        folder.mkdir(parents=True)
        return folder

    def _select(self, name: str, *, select: bool) -> None:
        if select:
            (self.config / "identity.json").write_text(json.dumps({"default": name}))
