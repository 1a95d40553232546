"""What which version of a tool can do: all knowledge about versions stands in one table.

Sources: the change logs and sources of dfx and icp, release by release.
"""

import enum
import re
from dataclasses import dataclass
from functools import total_ordering

from dfx_backup.errors import ToolError

_VERSION = re.compile(
    r"(?<![\w.])(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?(?![\w.])"
)


@total_ordering
@dataclass(frozen=True, slots=True)
class ToolVersion:
    """A version by the rules of Semantic Versioning 2.0; build metadata is left out.

    Attributes:
        release: major, minor and patch.
        prerelease: the identifiers after the hyphen, empty for a release.
    """

    release: tuple[int, int, int]
    prerelease: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "ToolVersion":
        """The first version in a text such as `dfx 0.23.0-beta.3`.

        Raises:
            ToolError: there is none.
        """
        found = _VERSION.search(text)
        if found is None:
            raise ToolError(f"no version can be read from {text.strip()[:80]!r}")
        major, minor, patch, prerelease = found.groups()
        return cls(
            (int(major), int(minor), int(patch)), tuple(prerelease.split(".")) if prerelease else ()
        )

    def __str__(self) -> str:
        release = ".".join(map(str, self.release))
        return f"{release}-{'.'.join(self.prerelease)}" if self.prerelease else release

    def __lt__(self, other: "ToolVersion") -> bool:
        return self._key() < other._key()

    def _key(self) -> tuple[tuple[int, int, int], bool, list[tuple[bool, int, str]]]:
        """Semantic Versioning 2.0, item 11: numbers by value and before words, releases last."""
        identifiers = [
            (not part.isdecimal(), int(part) if part.isdecimal() else 0, part)
            for part in self.prerelease
        ]
        return self.release, not self.prerelease, identifiers


class DfxFeature(enum.Enum):
    """Something that dfx can do since some version."""

    SNAPSHOTS = "take, list, load and delete canister snapshots"
    PLAINTEXT_REFUSED = "refuse a plaintext identity on mainnet"
    TRANSFERS = "download and upload canister snapshots"
    RESUME = "resume a download or an upload"
    PKCS8_KEYS = "load secp256k1 keys in PKCS#8"
    RESULTS_ON_STDOUT = "print results of snapshot create and list to standard output"
    DEPRECATED = "say that it is deprecated with every command"


_DFX_SINCE = {
    DfxFeature.SNAPSHOTS: "0.23.0-beta.3",
    DfxFeature.PLAINTEXT_REFUSED: "0.25.0",
    DfxFeature.TRANSFERS: "0.29.2-beta.0",  # 0.29.0 and 0.29.1 speak an interface never released
    DfxFeature.RESUME: "0.30.1",
    DfxFeature.PKCS8_KEYS: "0.32.0",
    DfxFeature.RESULTS_ON_STDOUT: "0.32.0",
    DfxFeature.DEPRECATED: "0.32.0",
}


_WANTED = (
    DfxFeature.SNAPSHOTS,
    DfxFeature.TRANSFERS,
    DfxFeature.RESUME,
    DfxFeature.PKCS8_KEYS,
)
"""What we, or whoever works with dfx next to us, would miss."""


def dfx_can(feature: DfxFeature, version: ToolVersion) -> bool:
    """Whether this version of dfx has the feature."""
    return version >= ToolVersion.parse(_DFX_SINCE[feature])


def dfx_lacks(version: ToolVersion) -> tuple[str, ...]:
    """What a version of dfx can't do for us yet, each with the version that can."""
    return tuple(
        f"{feature.value} (since {_DFX_SINCE[feature]})"
        for feature in _WANTED
        if not dfx_can(feature, version)
    )


def require_dfx(feature: DfxFeature, version: ToolVersion) -> None:
    """Refuse a version of dfx that lacks the feature.

    Raises:
        ToolError: with the reason, and the ways out.
    """
    if not dfx_can(feature, version):
        since = _DFX_SINCE[feature]
        raise ToolError(
            f"dfx {version} is too old: it can {feature.value} only since {since}",
            hint=f"upgrade dfx to {since} or later, or add `--driver agent`, which needs no dfx",
        )


ICP_SINCE = ToolVersion((1, 2, 0))
"""The oldest icp that is driven: its predecessors pass root keys another way, or print no JSON."""

ICP_TESTED = ToolVersion((1, 5, 0))
"""The icp whose every word is known, which the tests run."""


def require_icp(version: ToolVersion) -> None:
    """Refuse a version of icp that is too old.

    Raises:
        ToolError: with the ways out.
    """
    if version < ICP_SINCE:
        raise ToolError(
            f"icp {version} is too old: {ICP_SINCE} is the oldest that can be driven",
            hint=f"upgrade icp to {ICP_SINCE} or later, or use `--driver agent`, which needs none",
        )


def icp_remark(version: ToolVersion) -> str | None:
    """What a careful user should know about this version of icp, or None."""
    if version == ICP_TESTED:
        return None
    than = "newer" if version > ICP_TESTED else "older"
    return f"icp {version} is {than} than {ICP_TESTED}, with which this program is tested"
