"""What `doctor` looks at: the way to the network and the surroundings, as parts that may fail."""

import importlib.util
import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dfx_backup import __version__
from dfx_backup.cli import passwords, repository_access
from dfx_backup.cli.context import Surroundings
from dfx_backup.cli.repository_options import REPOSITORY_VARIABLE, RepositoryChoice
from dfx_backup.cli.session import Run
from dfx_backup.drivers.features import icp_remark
from dfx_backup.errors import CertificateError
from dfx_backup.ic.public_view import PublicView
from dfx_backup.ic.root_keys import network_id
from dfx_backup.model import CanisterRef, DriverName, NetworkId
from dfx_backup.operations.backup_create_plan import KEEP_ON_CHAIN
from dfx_backup.operations.doctor import Checks
from dfx_backup.operations.doctor_findings import catch, once
from dfx_backup.operations.doctor_identity import KeyPlace
from dfx_backup.operations.doctor_machine import Clocks, Room
from dfx_backup.operations.doctor_repository import RepositoryPart
from dfx_backup.operations.doctor_tools import Here, Need
from dfx_backup.operations.pending import Pending
from dfx_backup.operations.target import Target
from dfx_backup.project.identities import Storage
from dfx_backup.project.settings import find_settings

if TYPE_CHECKING:
    from dfx_backup.cli.connect import Way

_PACKAGES = {"s3": "obstore", "keyring": "keyring", "replica": "wasmtime"}
"""What each extra installs."""
_MOCK_KEYRINGS = ("DFX_CI_MOCK_KEYRING_LOCATION", "ICP_CLI_KEYRING_MOCK_DIR")
_CACHE = "DFX_CACHE_ROOT"


def checks_of(
    run: Run,
    way: "Way",
    targets: Callable[[], tuple[Target, ...]],
    journaled: Callable[[Pending], Target],
) -> Checks:
    """The checks of a way to the network; those of a repository are added by `with_repository`.

    Args:
        run: the command's run.
        way: hasty.
        targets: the canisters to look at.
        journaled: the canister of an interrupted run.
    """
    around = run.surroundings
    told = _Told(run, way)
    return Checks(
        here=here(around),
        needs=told.needs,
        find_dfx=way.find_dfx,
        find_icp=way.find_icp,
        drives=lambda: way.choice.driver,
        driver=told.driver,
        network=told.network,
        network_id=told.network_id,
        root_key=told.root_key,
        identity=told.identity,
        key=told.key,
        warnings=around.variable("DFX_WARNING") or "",
        secrets=told.secrets,
        clocks=Clocks(
            now=around.clock.now,
            server=lambda: way.visit().server_time(),
            certified=lambda canister, behind: PublicView(way.visit(behind)).time_s(canister),
        ),
        view=lambda behind: PublicView(way.visit(behind)),
        repository=None,
        targets=targets,
        keep=lambda ref: _keep(run, ref),
        journaled=journaled,
        rooms=lambda: (_state_room(run),),
    )


def with_repository(run: Run, checks: Checks, choice: RepositoryChoice) -> Checks:
    """The checks, with those of the repository that is meant."""
    around = run.surroundings
    variable = around.variable(repository_access.FILE_VARIABLE)
    typed = choice.password_file or variable
    access = once(lambda: repository_access.access(run, choice))

    def rooms() -> tuple[Room, ...]:
        found, _ = catch(access)  # why there is none is told with the repository
        folder = None if found is None else found.location.folder
        mine = () if folder is None else (Room(what="repository", folder=folder, vital=True),)
        return (*mine, *checks.rooms())

    def needs() -> tuple[Need, ...]:
        found = checks.needs()
        location = choice.repo or around.variable(REPOSITORY_VARIABLE)
        location = location or find_settings(around.cwd).repository or ""
        s3 = Need(extra="s3", why="the repository in S3", vital=True)
        return (*found, s3) if location.startswith("s3:") else found

    def secrets() -> Sequence[Path]:
        mine = () if choice.password_command or typed is None else (around.path(typed),)
        return (*checks.secrets(), *mine)

    return replace(
        checks,
        needs=needs,
        secrets=secrets,
        rooms=rooms,
        repository=RepositoryPart(access=access, source=_source(choice, variable)),
    )


def here(around: Surroundings) -> Here:
    """What the program runs on."""
    return Here(
        version=__version__,
        python=platform.python_version(),
        libc=" ".join(filter(None, platform.libc_ver())),
        platform=around.platform,
        cache_root=_cache_root(around),
        extras=frozenset(
            extra
            for extra, package in _PACKAGES.items()
            if importlib.util.find_spec(package) is not None
        ),
    )


def _cache_root(around: Surroundings) -> Path:
    """Where dfx keeps its versions: above the cache of the dfx that started us, or as it looks."""
    cache = around.cache_path
    if cache is not None and cache.parent.name == "versions":
        return cache.parent.parent
    return Path(around.variable(_CACHE) or around.home) / ".cache" / "dfinity"


def _source(choice: RepositoryChoice, variable: str | None) -> str:
    """Where the repository's password comes from; never the password."""
    if choice.password_command is not None:
        return "the program of --password-command"
    if choice.password_file is not None:
        return f"--password-file {choice.password_file}"
    if variable is not None:
        return f"{repository_access.FILE_VARIABLE}, {variable}"
    return "the terminal"


def _state_room(run: Run) -> Room:
    return Room(what="state directory", folder=Path(run.places.state), vital=False)


def _keep(run: Run, ref: CanisterRef) -> int:
    choices = find_settings(run.surroundings.cwd).canisters
    chosen = choices.get(ref.name or "") or choices.get(ref.canister_id)
    count = None if chosen is None else chosen.keep_on_chain
    return KEEP_ON_CHAIN if count is None else count


class _Told:
    """Lines on the parts of a way.

    Args:
        run: the command's run.
        way: hasty.
    """

    def __init__(self, run: Run, way: "Way") -> None:
        self._run = run
        self._way = way
        self._status = once(lambda: way.visit().status())
        self.network_id: Callable[[], NetworkId] = once(lambda: way.visit().network_id())

    def driver(self) -> str:
        """The driver, and why it is this one; nothing is sent for it."""
        way = self._way
        icp, dfx, reason = way.choice.icp, way.choice.dfx, way.choice.reason
        if icp is not None:
            remark = icp_remark(icp.version)
            return f"icp {icp.version}, because {reason}" + (f"; {remark}" if remark else "")
        told = "the agent driver" if dfx is None else f"dfx {dfx.version}"
        return f"{told}, because {reason}"

    def network(self) -> str:
        """The network, after it has answered."""
        self._status()
        return f"{self._way.network.name} answers at {self._way.network.url}"

    def root_key(self) -> str:
        """The key that answers must be certified by."""
        known, pinned = self.network_id()[:16], self._way.network.root_key
        if pinned is None:
            return f"fetched from this machine; network {known}"
        status, _ = catch(self._status)  # that it does not answer is told by itself
        told = None if status is None else status.get("root_key")
        if isinstance(told, bytes) and told != pinned:
            raise CertificateError(
                f"the network tells root key {network_id(told)[:16]}, and {known} is pinned",
                hint="it was reset, or it is not the network that is meant, or somebody stands"
                " between; `--root-key` pins another one",
            )
        return f"pinned; network {known}"

    def identity(self) -> str:
        """Who calls."""
        way = self._way
        if way.identity is None:
            return f"{way.identity_ref}: only {way.choice.driver} can use its key"
        return f"{way.identity_ref}: {way.identity.principal.to_text()}"

    def key(self) -> KeyPlace:
        """How the key is kept."""
        ref = self._way.identity_ref
        return KeyPlace(who=str(ref), plain=ref.storage is Storage.PLAINTEXT)

    def needs(self) -> tuple[Need, ...]:
        """Extras that the identity needs."""
        ref = self._way.identity_ref
        mocked = any(self._run.surroundings.variable(name) for name in _MOCK_KEYRINGS)
        if ref.storage is not Storage.KEYRING or mocked:
            return ()
        alone = self._way.choice.driver is DriverName.AGENT
        return (Need(extra="keyring", why=str(ref), vital=alone),)

    def secrets(self) -> Sequence[Path]:
        """Files with the identity's key or password."""
        ref, around = self._way.identity_ref, self._run.surroundings
        plain = ref.storage is Storage.PLAINTEXT and ref.file is not None
        typed = self._run.shared.identity_password_file
        typed = typed or around.variable(passwords.FILE_VARIABLE)
        found = [ref.file] if plain and ref.file is not None else []
        return [*found, *([] if typed is None else [around.path(typed)])]
