"""From words to a canister that can be worked on: project, network, driver, identity, wire.

This module brings in everything that a call needs, and with it 0.2 s of imports; nothing above
loads it before a command reaches for a canister.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from dfx_backup.cli import context, passwords, proxies
from dfx_backup.cli.hasty import HASTY_PROBE_S, HASTY_S, HASTY_TOOL_S, HastyCaller
from dfx_backup.cli.naming import named_network, named_project
from dfx_backup.cli.session import Run
from dfx_backup.drivers.agent import AgentDriver
from dfx_backup.drivers.base import Driver
from dfx_backup.drivers.choose import Choice, Situation, choose_driver
from dfx_backup.drivers.dfx import DfxDriver, DfxTool, probe_dfx
from dfx_backup.drivers.icp import IcpDriver, IcpPlace, IcpTool, probe_icp
from dfx_backup.drivers.runner import CALL_TIMEOUT_S, PROBE_TIMEOUT_S
from dfx_backup.errors import UnreadableIdentityError
from dfx_backup.ic.identity import AnonymousIdentity, Identity
from dfx_backup.ic.management import ManagementCanister
from dfx_backup.ic.public_view import PublicView
from dfx_backup.ic.retry import NO_RETRY
from dfx_backup.ic.session import READ_PATIENCE_S, Session
from dfx_backup.ic.surroundings import Surroundings
from dfx_backup.ic.transport import READ_TIMEOUT_S
from dfx_backup.model import CanisterRef, DriverName, Network
from dfx_backup.operations.direct import Direct
from dfx_backup.operations.doctor_findings import once
from dfx_backup.operations.pending import Pending
from dfx_backup.operations.target import Target
from dfx_backup.project.canister_ids import all_canisters, resolve_canister
from dfx_backup.project.discover import Project, ProjectKind
from dfx_backup.project.identities import IdentityRef, IdentityTool, find_identity
from dfx_backup.project.keys import load_identity
from dfx_backup.project.networks import (
    MAINNET_NAME,
    Origin,
    define_network,
)

if TYPE_CHECKING:
    from dfx_backup.operations.doctor import Checks

_log = logging.getLogger(__name__)

_NONCE_BYTES = 16


class RealConnector:
    """Reaches the canisters of the user's project and network."""

    def canister(self, run: Run, name: str, *, changes: bool, restores: bool = False) -> Target:
        """The canister of that name or principal; the order of checks asks for secrets last."""
        way = _way(run, changes=changes, restores=restores)
        return way.target(resolve_canister(way.project, way.network, name, places=run.places))

    def canisters(self, run: Run, names: Sequence[str], *, changes: bool) -> tuple[Target, ...]:
        """The canisters of these names or principals, by one connection."""
        way = _way(run, changes=changes)
        refs = [
            resolve_canister(way.project, way.network, name, places=run.places) for name in names
        ]
        return tuple(way.target(ref) for ref in refs)

    def project_canisters(self, run: Run) -> tuple[Target, ...]:
        """Every canister that the project deploys on the chosen network."""
        way = _way(run, changes=True)
        if way.project is None:
            return ()
        return tuple(
            way.target(ref) for ref in all_canisters(way.project, way.network, places=run.places)
        )

    def journaled(self, run: Run, entry: Pending) -> Target:
        """The canister of an interrupted run, by the same driver unless another one is asked for.

        Raises:
            BackupError: what reading the record gave.
        """
        return self._journaled(run, entry, hasty=False)

    def _journaled(self, run: Run, entry: Pending, *, hasty: bool) -> Target:
        if entry.canister is None or entry.network is None:
            assert entry.problem is not None  # a record that was read names both
            raise entry.problem
        driver = run.shared.driver or (DriverName(entry.driver) if entry.driver else None)
        again = replace(run, shared=replace(run.shared, driver=driver))
        network = None if run.shared.network else entry.network
        way = Way(again, changes=True, network=network, hasty=hasty)
        return way.target(entry.canister)

    def checks(self, run: Run, canister: str | None) -> "Checks":
        """What `doctor` looks at; each part fails for itself, and none waits for long."""
        from dfx_backup.cli.doctor_checks import checks_of

        way = Way(run, changes=False, hasty=True)

        def targets() -> tuple[Target, ...]:
            refs: Sequence[CanisterRef] = ()
            if canister is not None:
                refs = (resolve_canister(way.project, way.network, canister, places=run.places),)
            elif way.project is not None:
                refs = all_canisters(way.project, way.network, places=run.places)
            return tuple(way.target(ref) for ref in refs)

        return checks_of(run, way, targets, lambda entry: self._journaled(run, entry, hasty=True))


class Way:
    """The way to one network as one identity; each part is found when it is first needed.

    Args:
        run: the command's run.
        changes: a guessed identity is not good enough.
        restores: DFX_NETWORK may not decide.
        network: the network that is meant, when it is not the user's words that say so.
        hasty: everything is asked once and given up soon: for looks that change nothing.
    """

    def __init__(
        self,
        run: Run,
        *,
        changes: bool,
        restores: bool = False,
        network: Network | None = None,
        hasty: bool = False,
    ) -> None:
        self._run = run
        self._hasty = hasty
        self.find_dfx = once(self._find_dfx)
        self.find_icp = once(self._find_icp)
        self._changes = changes
        self._restores = restores
        self._given = network

    def target(self, ref: CanisterRef) -> Target:
        """The canister with everything that an operation needs."""
        driver = self.driver  # first: the choice may be refused before a password is asked for
        readable = self.identity is not None
        return Target(
            ref=ref,
            network=self.network,
            network_id=self.wire.network_id(),
            driver=driver,
            reader=self.management if readable else None,
            direct=self.direct if readable else None,
            principal=self.identity.principal.to_text() if self.identity else None,
        )

    @cached_property
    def project(self) -> Project | None:
        """The user's project, or None outside of one."""
        return named_project(self._run)

    @cached_property
    def network(self) -> Network:
        """The network that is meant."""
        if self._given is not None:
            return self._given
        return named_network(self._run, self.project, restores=self._restores)

    @cached_property
    def choice(self) -> Choice:
        """The driver's name, and why it is this one."""
        surroundings = self._run.surroundings
        kind = self.project.kind if self.project else None

        chosen = choose_driver(
            self._run.shared.driver,
            Situation(
                started_by_dfx=surroundings.cache_path is not None,
                has_dfx_json=kind is ProjectKind.DFX,
                has_icp_yaml=kind is ProjectKind.ICP,
                find_dfx=self.find_dfx,
                find_icp=self.find_icp,
            ),
        )
        _log.debug("driver %s, because %s", chosen.driver, chosen.reason)
        return chosen

    def _find_dfx(self) -> DfxTool | None:
        around = self._run.surroundings
        return probe_dfx(
            cache_path=None if around.cache_path is None else str(around.cache_path),
            environment=around.environment,
            cwd=str(self.project.root) if self.project else None,
            timeout_s=HASTY_PROBE_S if self._hasty else PROBE_TIMEOUT_S,
        )

    def _find_icp(self) -> IcpTool | None:
        return probe_icp(
            environment=self._run.surroundings.environment,
            timeout_s=HASTY_PROBE_S if self._hasty else PROBE_TIMEOUT_S,
        )

    @cached_property
    def driver(self) -> Driver:
        """What controls the canisters."""
        if self.choice.dfx is not None:
            return DfxDriver(
                tool=self.choice.dfx,
                network=self._dfx_network(),
                identity=self.identity_ref.name,
                clock=self._run.surroundings.clock.now,
                password=self.password,
                timeout_s=HASTY_TOOL_S if self._hasty else CALL_TIMEOUT_S,
            )
        if self.choice.icp is not None:
            place = IcpPlace(
                url=self.network.url,
                root_key=self.wire.root_key(),
                identity=self.identity_ref.name,
                password_file=passwords.file_for_tools(self._run),
            )
            return IcpDriver(
                tool=self.choice.icp,
                place=place,
                clock=self._run.surroundings.clock.now,
                password=self.password,
                timeout_s=HASTY_TOOL_S if self._hasty else CALL_TIMEOUT_S,
            )
        return AgentDriver(self.management)

    def _dfx_network(self) -> str:
        """The network as dfx knows it: names from other tools' files mean nothing to it."""
        if self._given is not None:
            return self._given.name
        found = define_network(self.project, self.network.name, places=self._run.places)
        if found.dfx_name == MAINNET_NAME:
            return MAINNET_NAME
        return found.url if found.origin in (Origin.SETTINGS, Origin.ICP) else found.name

    @cached_property
    def identity_ref(self) -> IdentityRef:
        """The identity that calls: the driver's own, or else that of the project's tool."""
        run = self._run
        name = context.choose_identity(run.surroundings, run.shared.identity, changes=self._changes)
        if self.choice.driver is DriverName.AGENT:
            icp = self.project is not None and self.project.kind is ProjectKind.ICP
        else:
            icp = self.choice.driver is DriverName.ICP
        kind = IdentityTool.ICP if icp else IdentityTool.DFX
        return find_identity(name, places=run.places, kind=kind)

    @cached_property
    def password(self) -> passwords.Password:
        """Opens the identity; asked for once, by whoever needs it first."""
        return passwords.Password(self._run, str(self.identity_ref))

    @cached_property
    def identity(self) -> Identity | None:
        """The identity's key, or None when only the driver's tool can use it."""
        ref = self.identity_ref
        icp = ref.tool is IdentityTool.ICP
        variable = "ICP_CLI_KEYRING_MOCK_DIR" if icp else "DFX_CI_MOCK_KEYRING_LOCATION"
        mock = self._run.surroundings.environment.get(variable)
        try:
            return load_identity(ref, password=self.password, mock_keyring=mock)
        except UnreadableIdentityError as error:
            if self.choice.driver is DriverName.AGENT:
                raise
            self._run.view.warn(
                f"{error.message}; {self.choice.driver} signs, and what it prints can't be checked "
                "against certified answers."
            )
            return None

    @cached_property
    def wire(self) -> Session:
        """The connection; without a key it can still learn which network answers."""
        return self._session(self.identity or AnonymousIdentity())

    def visit(self, behind_s: float = 0.0) -> Session:
        """A connection without a key, for a clock that is so many seconds behind."""
        return self._session(AnonymousIdentity(), behind_s=behind_s)

    def _session(self, identity: Identity, *, behind_s: float = 0.0) -> Session:
        clock, around = self._run.surroundings.clock, self._run.surroundings
        session = Session(
            self.network.url,
            identity,
            root_key=self.network.root_key,
            surroundings=Surroundings(
                clock=lambda: clock.now() + behind_s,
                monotonic=clock.monotonic,
                sleep=clock.sleep,
                nonce=lambda: around.random(_NONCE_BYTES),
            ),
            proxy=proxies.proxy_for(self.network.url, around.environment),
            timeout_s=HASTY_S if self._hasty else READ_TIMEOUT_S,
            patience_s=HASTY_S if self._hasty else READ_PATIENCE_S,
        )
        self._run.session.exits.callback(session.close)
        return session

    @cached_property
    def management(self) -> ManagementCanister:
        """Direct, certified calls."""
        if self._hasty:
            return ManagementCanister(HastyCaller(self.wire), retry=NO_RETRY)
        return ManagementCanister(self.wire)

    @cached_property
    def direct(self) -> Direct:
        """The way without another program."""
        slices = ManagementCanister(self.wire, retry=NO_RETRY)
        return Direct(
            calls=self.management,
            slices=slices,
            methods=self.wire,
            sections=PublicView(self.wire),
            evidence=self.wire.evidence,
        )


def _way(run: Run, *, changes: bool, restores: bool = False, network: Network | None = None) -> Way:
    return Way(run, changes=changes, restores=restores, network=network)
