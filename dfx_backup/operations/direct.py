"""Calls that we sign ourselves: what operations need of `ic.management.ManagementCanister`."""

from typing import Protocol

from dfx_backup.ic.canister_settings import FullStatus
from dfx_backup.model import CanisterId, CanisterStatus
from dfx_backup.transfer.terms import SliceWriter


class DirectCalls(SliceWriter, Protocol):
    """Reads and writes snapshots slice by slice, and knows settings."""

    def status(self, canister: CanisterId, /) -> CanisterStatus:
        """The canister's certified status."""

    def full_status(self, canister: CanisterId, /) -> FullStatus:
        """Status and settings, from one certified answer."""

    def install_code(self, canister: CanisterId, module: bytes, /, *, arg: bytes = ...) -> None:
        """Install a module into an empty canister."""
