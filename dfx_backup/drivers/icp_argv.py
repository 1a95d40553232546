"""How icp is told what to do: argument lists, built without side effects.

Canisters are named by their principal and the network by URL and root key, so that no icp.yaml has
a say in where a call goes. Results are asked for as JSON; `-q` of `snapshot list` prints ids and
then the text for humans as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dfx_backup.drivers.environment import child_environment
from dfx_backup.model import CanisterId, SnapshotId

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_EXTRA = {
    "DO_NOT_TRACK": "1",  # no telemetry in the user's name
    "RUST_BACKTRACE": "0",  # else every error ends in a backtrace
    "NO_COLOR": "1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class IcpArguments:
    """Builds argument lists for one binary, network and identity.

    Attributes:
        binary: absolute path of icp.
        url: where the network answers.
        root_key: DER of the key that its answers must be certified by.
        identity: an identity's name, or None for icp's default.
        password_file: file with nothing but the identity's password, or None.
    """

    binary: str
    url: str
    root_key: bytes
    identity: str | None = None
    password_file: str | None = None

    def status(self, canister: CanisterId) -> list[str]:
        """Print the canister's status."""
        return self._canister("status", canister, "--json")

    def stop(self, canister: CanisterId) -> list[str]:
        """Stop the canister, and wait until it is stopped."""
        return self._canister("stop", canister)

    def start(self, canister: CanisterId) -> list[str]:
        """Start the canister."""
        return self._canister("start", canister)

    def list_snapshots(self, canister: CanisterId) -> list[str]:
        """List the canister's snapshots."""
        return self._canister("snapshot", "list", canister, "--json")

    def take_snapshot(self, canister: CanisterId, replace: SnapshotId | None) -> list[str]:
        """Take a snapshot of a stopped canister."""
        replacing = [] if replace is None else ["--replace", replace]
        return self._canister("snapshot", "create", canister, *replacing, "--json")

    def load_snapshot(self, canister: CanisterId, snapshot: SnapshotId) -> list[str]:
        """Load a snapshot into a stopped canister; icp calls it restore."""
        return self._canister("snapshot", "restore", canister, snapshot)

    def delete_snapshot(self, canister: CanisterId, snapshot: SnapshotId) -> list[str]:
        """Delete a snapshot."""
        return self._canister("snapshot", "delete", canister, snapshot)

    def download_snapshot(
        self, canister: CanisterId, snapshot: SnapshotId, folder: str
    ) -> list[str]:
        """Write a snapshot into a folder."""
        return self._canister("snapshot", "download", canister, snapshot, "--output", folder)

    def upload_snapshot(self, canister: CanisterId, folder: str) -> list[str]:
        """Make a snapshot of a folder."""
        return self._canister("snapshot", "upload", canister, "--input", folder, "--json")

    def principal(self) -> list[str]:
        """Print the identity's principal."""
        return [self.binary, "identity", "principal", *self._who()]

    def _canister(self, *words: str) -> list[str]:
        # Without the slash at its end a URL would lose the last part of its path.
        where = ["--network", self.url.rstrip("/") + "/", "--root-key", self.root_key.hex()]
        return [self.binary, "canister", *words, *where, *self._who()]

    def _who(self) -> list[str]:
        who = [] if self.identity is None else ["--identity", self.identity]
        if self.password_file is not None:
            who += ["--identity-password-file", self.password_file]
        return who


def version(binary: str) -> list[str]:
    """Print icp's version."""
    return [binary, "--version"]


def icp_environment(given: Mapping[str, str]) -> dict[str, str]:
    """The environment of icp: what a child may see, and what keeps icp quiet.

    Proxies are kept, but this machine is never reached through one: icp would try.
    """
    kept = child_environment(given, extra=_EXTRA)
    for name in ("NO_PROXY", "no_proxy"):
        listed = [each.strip() for each in kept.get(name, "").split(",") if each.strip()]
        if listed or name == "NO_PROXY":
            kept[name] = ",".join([*listed, *(each for each in _LOOPBACK if each not in listed)])
    return kept
