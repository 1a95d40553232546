"""Findings about whose key signs, and how it is kept."""

from collections.abc import Callable
from dataclasses import dataclass

from dfx_backup.drivers.dfx import DfxTool
from dfx_backup.drivers.dfx_argv import PLAINTEXT_OFF
from dfx_backup.drivers.features import DfxFeature, dfx_can
from dfx_backup.errors import ProjectError
from dfx_backup.ic.root_keys import MAINNET_ROOT_KEY, network_id
from dfx_backup.model import NetworkId
from dfx_backup.operations.doctor_findings import (
    Finding,
    Topic,
    catch,
    doubt,
    failure,
    fine,
    unknown,
)

_MAINNET = network_id(MAINNET_ROOT_KEY)
_PROTECT = "use an identity with a password, in the keyring, or in hardware"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPlace:
    """How the identity's key is kept.

    Attributes:
        who: names the identity.
        plain: in a file that nothing protects but its rights.
    """

    who: str
    plain: bool


def plaintext(
    key: Callable[[], KeyPlace],
    network: Callable[[], NetworkId],
    *,
    driven: DfxTool | None,
    warnings: str,
) -> Finding:
    """Whether an unprotected key acts on mainnet; dfx refuses that since 0.25.0.

    Args:
        key: how it is kept.
        network: which network it is.
        driven: the dfx that controls the canisters, or None when another driver does.
        warnings: DFX_WARNING as the user set it.
    """
    found, trouble = catch(lambda: (key(), network()))
    if found is None:
        assert trouble is not None
        return unknown(Topic.PLAINTEXT, trouble)
    kept, network_id_ = found
    if not kept.plain:
        return fine(Topic.PLAINTEXT, f"{kept.who} is not stored plainly")
    if network_id_ != _MAINNET:
        return fine(Topic.PLAINTEXT, f"{kept.who} is stored plainly, and this is not mainnet")
    told = f"{kept.who} is stored plainly, and acts on mainnet"
    allowed = PLAINTEXT_OFF in (word.strip() for word in warnings.split(","))
    if driven is None or allowed or not dfx_can(DfxFeature.PLAINTEXT_REFUSED, driven.version):
        return doubt(Topic.PLAINTEXT, told, _PROTECT)
    return failure(
        Topic.PLAINTEXT,
        f"{told}, which dfx {driven.version} refuses",
        f"{_PROTECT}; to allow it is your decision: DFX_WARNING={PLAINTEXT_OFF}",
        exit_code=ProjectError.exit_code,
    )
