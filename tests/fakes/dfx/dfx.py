"""A stand-in for dfx: stateful through the replica it talks to, faithful in streams and codes.

It knows the commands that a backup needs and refuses every other command line, which is noted in
a file that the tests check. Exit codes are dfx's: 0, 255 for every failure, 2 from its parser.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import cbor2
from icp_identity import Identity

from tests.fakes.dfx import project, transfer
from tests.fakes.dfx.arguments import Parsed, parse, settle_globals
from tests.fakes.dfx.canister import Canister
from tests.fakes.dfx.extension import extension
from tests.fakes.dfx.identities import Identities
from tests.fakes.dfx.shell import DEPRECATION, ArgumentsError, DfxError, Shell
from tests.fakes.dfx.subnet import Subnet


def main(settings_path: str, argv: list[str], *, environ: dict[str, str] | None = None) -> int:
    """Run one command line."""
    settings = json.loads(Path(settings_path).read_text())
    shell = Shell(settings=settings, argv=argv, environ=environ or dict(os.environ))
    try:
        return _run(shell, argv)
    except ArgumentsError as err:
        shell.refuse(err)
        return 2
    except DfxError as err:
        shell.print_error(err)
        return 255


def _run(shell: Shell, argv: list[str]) -> int:
    shell.config.mkdir(parents=True, exist_ok=True)
    config = shell.config / "config.json"
    if not config.exists():
        config.write_text('{"telemetry": "local"}')
    code = extension(shell, argv)
    if code is not None:
        return code
    parsed = parse(shell, argv)
    settle_globals(shell, parsed)
    if shell.since("0.32.0") and shell.has_warning("deprecation"):
        sys.stderr.write(DEPRECATION + "\n")
    _dispatch(shell, parsed)
    return 0


def _dispatch(shell: Shell, parsed: Parsed) -> None:
    match parsed.words:
        case ("cache", "show"):
            shell.out(str(shell.cache))
        case ("cache", "install"):
            _install_cache(shell)
        case ("ping",):
            _ping(shell, parsed)
        case ("identity", verb):
            _identity(shell, verb)
        case ("canister", "id"):
            root = project.project_root()
            if root is None:
                raise DfxError(
                    "Cannot find dfx configuration file in the current working directory. Did you "
                    "forget to create one?"
                )
            network = project.find_network(shell, root)
            shell.out(project.find_canister(parsed.positionals[0], network, root))
        case ("canister", *words):
            _canister(_reach(shell, parsed), words, parsed)


def _install_cache(shell: Shell) -> None:
    """Make this version's folder anew, with a copy of dfx: extensions in it are gone."""
    binary = Path(sys.argv[0]).read_bytes()
    shutil.rmtree(shell.cache, ignore_errors=True)
    shell.cache.mkdir(parents=True)
    (shell.cache / "dfx").write_bytes(binary)
    (shell.cache / "dfx").chmod(0o500)


def _identity(shell: Shell, verb: str) -> None:
    identities = Identities(shell)
    selected = identities.selected()
    match verb:
        case "whoami":
            shell.out(selected)
        case "get-principal":
            shell.out(str(identities.load(selected).sender().to_str()))
        case "list":
            for name in identities.names():
                sys.stdout.write(name)
                sys.stdout.flush()
                if name == selected:
                    sys.stderr.write(" *")
                    sys.stderr.flush()
                shell.out("")


def _ping(shell: Shell, parsed: Parsed) -> None:
    if parsed.positionals:
        shell.network = parsed.positionals[0]
    network = project.find_network(shell, project.project_root())
    subnet = Subnet(network.url, Identity(anonymous=True), timeout_s=_timeout(shell))
    try:
        told = subnet.fetch_root_key()
    except DfxError as err:
        raise DfxError("Failed while waiting for agent status.") from err
    shell.out(f"{ {key: str(value) for key, value in cbor2.loads(cbor2.dumps(told)).items()} }")


def _timeout(shell: Shell) -> float:
    return float(str(shell.settings.get("call_timeout_s", 20)))


def _reach(shell: Shell, parsed: Parsed) -> Canister:
    """Identity first, then the check of its storage, then the network."""
    root = project.project_root()
    network = project.find_network(shell, root)
    identities = Identities(shell)
    environment = f"Failed to create AgentEnvironment for network '{network.name}'."
    try:
        name = identities.selected()
        identity = identities.load(name)
    except DfxError as err:
        raise err.under("Failed to create AgentEnvironment.", environment) from err
    if network.is_ic and not shell.playground and identities.is_plaintext(name):
        _mind_plaintext(shell, name, environment)
    subnet = Subnet(network.url, identity, timeout_s=_timeout(shell))
    if not network.is_ic:
        subnet.fetch_root_key()
    argument = parsed.positionals[0]
    return Canister(shell, subnet, argument, project.find_canister(argument, network, root))


def _mind_plaintext(shell: Shell, name: str, environment: str) -> None:
    if not shell.has_warning("mainnet_plaintext_identity"):
        return
    text = (
        f"The {name} identity is not stored securely. Do not use it to control a lot of cycles/ICP."
    )
    if not shell.since("0.25.0"):
        shell.warn(text)
        return
    raise DfxError(
        "Failed to create AgentEnvironment.",
        environment,
        f"{text}\n- For enhanced security, please use a protected identity\n"
        "- If you understand the risks, you can suppress this error with "
        "`export DFX_WARNING=-mainnet_plaintext_identity`",
    )


def _canister(canister: Canister, words: list[str], parsed: Parsed) -> None:
    match words:
        case ["status"]:
            canister.status()
        case ["stop"]:
            canister.stop()
        case ["start"]:
            canister.start()
        case ["snapshot", "create"]:
            canister.create(parsed)
        case ["snapshot", "list"]:
            canister.list()
        case ["snapshot", "load"]:
            canister.load(parsed)
        case ["snapshot", "delete"]:
            canister.delete(parsed)
        case ["snapshot", "download"]:
            transfer.download(canister, parsed)
        case ["snapshot", "upload"]:
            transfer.upload(canister, parsed)
