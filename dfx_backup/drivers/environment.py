"""What a child program gets to see of our environment, and where programs are found."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from dfx_backup.errors import ToolError

# One reason each. Everything else, also our own variables, stays with us.
_KEPT = frozenset(
    {
        "HOME",  # where configuration, identities and caches are
        "PATH",  # dfx looks for tools of its own
        "USER",  # keyrings name their owner
        "LOGNAME",
        "TERM",  # prompts
        "NO_COLOR",
        "LANG",
        "TMPDIR",
        "TZ",
        "DBUS_SESSION_BUS_ADDRESS",  # the Secret Service keyring
        "SSL_CERT_FILE",  # private certificate authorities
        "SSL_CERT_DIR",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "WSL_DISTRO_NAME",  # dfx asks for it
    }
)
_KEPT_PREFIXES = ("XDG_", "LC_", "DFX_", "ICP_")
_REMOVED = frozenset(
    {
        "DFX_NETWORK",  # --network is always explicit; with --ic dfx refuses both
        "ICP_NETWORK",
        "ICP_ENVIRONMENT",
        "ICP_CLI_DIST",  # makes icp look for newer versions of itself
    }
)
_OURS = "DFX_BACKUP_"
SECRET_VARIABLES = ("DFX_HSM_PIN",)
"""Variables of the allowed ones that no message may show."""


def child_environment(
    given: Mapping[str, str], *, extra: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The environment of a child: what is allowed of `given`, and then `extra`.

    Proxies count in lower case too, which is what most programs read.
    """
    kept = {name: value for name, value in given.items() if _is_kept(name)}
    return kept | dict(extra or {})


def _is_kept(name: str) -> bool:
    if name in _REMOVED or name.startswith(_OURS):
        return False
    is_proxy = name.endswith("_proxy") and name.upper() in _KEPT
    return name in _KEPT or is_proxy or name.startswith(_KEPT_PREFIXES)


def locate(program: str, *, path: str) -> str | None:
    """The absolute path of an executable: `program` itself when it is a path, else from `path`."""
    found = shutil.which(program, path=path)
    return None if found is None else str(Path(found).absolute())


def locate_dfx(*, cache_path: str | None, path: str) -> str | None:
    """Where dfx is: in the cache of the dfx that started us, else on PATH, else None.

    The one on PATH may be a shim that runs another version from folder to folder. The cache holds
    no binary when that version was never installed into it.
    """
    cached = None if cache_path is None else locate(str(Path(cache_path) / "dfx"), path="")
    return cached or locate("dfx", path=path)


def require(program: str, *, path: str, hint: str | None = None) -> str:
    """As `locate`.

    Raises:
        ToolError: there is no such executable file.
    """
    found = locate(program, path=path)
    if found is None:
        raise ToolError(f"`{program}` was not found", hint=hint or f"install {program}")
    return found
