"""How dfx is told what to do: argument lists, built without side effects.

Canisters are named by their principal, since a name means nothing on an ad-hoc network, and an
identity and the network are always explicit. `-q` is never passed: before 0.32.0 it hides results.
"""

from dataclasses import dataclass

from dfx_backup.model import CanisterId, SnapshotId

DEPRECATION_OFF = "-deprecation"
"""Token of DFX_WARNING that keeps the deprecation notice out of standard error."""

PLAINTEXT_OFF = "-mainnet_plaintext_identity"
"""Token of DFX_WARNING that lets a plaintext identity act on mainnet; the user's to set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DfxArguments:
    """Builds argument lists for one binary, network and identity.

    Attributes:
        binary: absolute path of dfx.
        network: a network's name as the project knows it, `ic`, or a URL.
        identity: an identity's name, or None for the one that dfx has selected.
    """

    binary: str
    network: str
    identity: str | None = None

    def status(self, canister: CanisterId) -> list[str]:
        """Print the canister's status."""
        return self._canister("status", canister)

    def stop(self, canister: CanisterId) -> list[str]:
        """Stop the canister, and wait until it is stopped."""
        return self._canister("stop", canister)

    def start(self, canister: CanisterId) -> list[str]:
        """Start the canister."""
        return self._canister("start", canister)

    def list_snapshots(self, canister: CanisterId) -> list[str]:
        """List the canister's snapshots."""
        return self._canister("snapshot", "list", canister)

    def take_snapshot(self, canister: CanisterId, replace: SnapshotId | None) -> list[str]:
        """Take a snapshot of a stopped canister."""
        replacing = [] if replace is None else ["--replace", replace]
        return self._canister("snapshot", "create", canister, *replacing)

    def load_snapshot(self, canister: CanisterId, snapshot: SnapshotId) -> list[str]:
        """Load a snapshot into a stopped canister."""
        return self._canister("snapshot", "load", canister, snapshot)

    def delete_snapshot(self, canister: CanisterId, snapshot: SnapshotId) -> list[str]:
        """Delete a snapshot."""
        return self._canister("snapshot", "delete", canister, snapshot)

    def download_snapshot(
        self, canister: CanisterId, snapshot: SnapshotId, folder: str
    ) -> list[str]:
        """Write a snapshot into an empty folder."""
        return self._canister("snapshot", "download", canister, snapshot, "--dir", folder)

    def upload_snapshot(self, canister: CanisterId, folder: str) -> list[str]:
        """Make a snapshot of a folder."""
        return self._canister("snapshot", "upload", canister, "--dir", folder)

    def principal(self) -> list[str]:
        """Print the identity's principal."""
        return [self.binary, "identity", "get-principal", *self._who()]

    def _canister(self, *words: str) -> list[str]:
        return [self.binary, "canister", *words, "--network", self.network, *self._who()]

    def _who(self) -> list[str]:
        return [] if self.identity is None else ["--identity", self.identity]


def version(binary: str) -> list[str]:
    """Print dfx's version; starts nothing else, and prints no notice."""
    return [binary, "--version"]


def warning_setting(users: str | None) -> str:
    """DFX_WARNING with the deprecation notice off, and everything that the user set kept."""
    tokens = [token for token in (users or "").split(",") if token]
    if DEPRECATION_OFF not in tokens:
        tokens.append(DEPRECATION_OFF)
    return ",".join(tokens)
