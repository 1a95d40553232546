"""Networks and canisters by name in a project of icp-cli."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.errors import ProjectError, UsageError
from dfx_backup.ic.root_keys import MAINNET_ROOT_KEY
from dfx_backup.model import CanisterRef, DriverName, Network, Places
from dfx_backup.project.canister_ids import CanisterListing, list_canisters, resolve_canister
from dfx_backup.project.discover import Project, ProjectKind, find_project
from dfx_backup.project.networks import Origin, define_network, resolve_network

Write = Callable[[Path, object], Path]
KEY = MAINNET_ROOT_KEY[:-1] + b"\0"
ONE = "rrkah-fqaaa-aaaaa-aaaaq-cai"
TWO = "ryjl3-tyaaa-aaaaa-aaaba-cai"

YAML = f"""\
canisters:
  - {{name: backend, build: {{steps: []}}}}
  - {{name: frontend, recipe: {{type: "@dfinity/asset@v1"}}}}
networks:
  - {{name: testnet, mode: connected, url: "http://10.0.0.9:8080", root-key: {KEY.hex()}}}
  - {{name: lab, mode: connected, url: "http://127.0.0.1:9", root-key: fetch}}
  - {{name: far, mode: connected, url: "https://far.example", root-key: fetch}}
  - {{name: box, mode: managed}}
environments:
  - {{name: staging, network: testnet, canisters: [backend]}}
  - {{name: production, network: ic}}
  - {{name: red, network: box}}
  - {{name: blue, network: box}}
  - {{name: lab, network: testnet}}
"""


def descriptor(**changes: Any) -> dict[str, Any]:
    usual = {
        "v": "1",
        "id": "8c2f",
        "project-dir": "/p",
        "network": "local",
        "gateway": {"fixed": False, "port": 4321, "host": "localhost", "ip": "127.0.0.1"},
        "child-locator": {"type": "pid", "pid": 1, "start-time": 0},
        "root-key": KEY.hex(),
    }
    return usual | changes


class Desk:
    """A project of icp-cli, and the questions that tests ask about it."""

    def __init__(self, root: Path, places: Places, write: Write) -> None:
        self.root, self.write = root, write
        self.places = replace(places, icp_ports=str(root.parent / "ports"))
        write(root / "icp.yaml", YAML)

    def project(self, start: Path | None = None) -> Project:
        found = find_project(start or self.root)
        assert found is not None
        return found

    def started(self, name: str = "local", **changes: Any) -> None:
        file = self.root / ".icp/cache/networks" / name / "descriptor.json"
        self.write(file, descriptor(**changes))

    def ids(self, kind: str, environment: str, **ids: str) -> None:
        self.write(self.root / f".icp/{kind}/mappings/{environment}.ids.json", ids)

    def resolve(self, name: str | None, root_key: bytes | None = None) -> Network:
        return resolve_network(self.project(), name, places=self.places, root_key=root_key)

    def find(self, network: str | None, name: str) -> CanisterRef:
        return resolve_canister(self.project(), self.resolve(network), name, places=self.places)

    def listed(self, network: str | None) -> CanisterListing:
        return list_canisters(self.project(), self.resolve(network), places=self.places)


@pytest.fixture
def desk(root: Path, places: Places, write: Write) -> Desk:
    return Desk(root, places, write)


# -- networks -------------------------------------------------------------------------------------


def test_an_environment_comes_before_a_network(desk: Desk) -> None:
    assert desk.resolve("lab").url == "http://10.0.0.9:8080"
    assert desk.resolve("staging") == Network(
        name="staging", url="http://10.0.0.9:8080", root_key=KEY
    )
    assert desk.resolve("testnet").root_key == KEY
    found = define_network(desk.project(), "staging", places=desk.places)
    assert (found.origin, found.persistent, found.is_ic) == (Origin.ICP, True, False)


def test_environments_of_mainnet(desk: Desk) -> None:
    for name in ("ic", "production"):
        assert desk.resolve(name) == Network(
            name=name, url="https://icp0.io", root_key=MAINNET_ROOT_KEY
        )
        assert define_network(desk.project(), name, places=desk.places).is_ic
        with pytest.raises(UsageError, match="has its own root key"):
            desk.resolve(name, KEY)


def test_the_environment_ic_must_be_mainnet(desk: Desk) -> None:
    desk.write(desk.root / "icp.yaml", "environments: [{name: ic, network: local}]")
    with pytest.raises(ProjectError, match="'ic' is on the network 'local', and not on mainnet"):
        desk.resolve("ic")


def test_local_is_the_default_and_answers_where_it_was_started(desk: Desk) -> None:
    with pytest.raises(ProjectError, match=r"is not running: there is no .*descriptor.json") as no:
        desk.resolve(None)
    assert no.value.hint == "Start it with `icp network start`."
    desk.started()
    for name in (None, "local"):
        assert desk.resolve(name) == Network(
            name="local", url="http://localhost:4321", root_key=KEY
        )
    assert not define_network(desk.project(), None, places=desk.places).persistent
    with pytest.raises(ProjectError) as gone:
        desk.resolve("red")
    assert gone.value.hint == "Start it with `icp network start box`."


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"v": "2"}, "v must be 1"),
        ({"root-key": "00"}, "root-key is not a root key"),
        ({"gateway": {"port": 0}}, "gateway.port is no port"),
        ({"gateway": {"port": 70_000}}, "gateway.port is no port"),
        ({"gateway": {"port": "80"}}, "gateway.port must be a whole number"),
        ({"gateway": {"port": 80, "host": "a b"}}, "gateway 'http://a b:80' is not the URL"),
        ({"gateway": {"port": 80, "fixed": True}, "id": 7}, "id must be text"),
    ],
)
def test_a_descriptor_that_is_bad(desk: Desk, changes: dict[str, Any], reason: str) -> None:
    desk.started(**changes)
    with pytest.raises(ProjectError, match=reason):
        desk.resolve(None)


def test_a_fixed_port_must_still_be_this_networks(desk: Desk) -> None:
    ports = Path(desk.places.icp_ports or "")
    desk.started(gateway={"fixed": True, "port": 8000})
    with pytest.raises(ProjectError, match="does not run"):
        desk.resolve(None)
    desk.write(ports / "8000.json", descriptor())
    assert desk.resolve(None).url == "http://localhost:8000"
    desk.write(ports / "8000.json", descriptor(id="ffff", **{"project-dir": "/other"}))
    with pytest.raises(ProjectError, match="another network has taken the port: that of /other"):
        desk.resolve(None)
    desk.places = replace(desk.places, icp_ports=None)
    assert desk.resolve(None).url == "http://localhost:8000"


def test_a_root_key_is_fetched_from_this_machine_only(desk: Desk) -> None:
    desk.write(
        desk.root / "icp.yaml",
        "networks:\n"
        "  - {name: near, mode: connected, url: 'http://127.0.0.1:9', root-key: fetch}\n"
        "  - {name: far, mode: connected, url: 'https://far.example', root-key: fetch}\n",
    )
    assert desk.resolve("near").root_key is None
    with pytest.raises(ProjectError, match=r"networks.1: a root key is fetched from this machine"):
        desk.resolve("far")
    assert desk.resolve("far", KEY).root_key == KEY
    desk.write(desk.root / "dfx-backup.toml", f'[network.far]\nroot_key = "{KEY.hex()}"')
    assert desk.resolve("far").root_key == KEY


def test_pins_have_an_order(desk: Desk) -> None:
    other = MAINNET_ROOT_KEY[:-1] + b"\1"
    desk.write(desk.root / "dfx-backup.toml", f'[network.staging]\nroot_key = "{other.hex()}"')
    assert desk.resolve("staging").root_key == other
    assert desk.resolve("staging", MAINNET_ROOT_KEY).root_key == MAINNET_ROOT_KEY
    assert desk.resolve("testnet").root_key == KEY


def test_dfx_backup_toml_names_further_networks(desk: Desk) -> None:
    desk.write(
        desk.root / "dfx-backup.toml",
        '[network.mine]\nurl = "http://127.0.0.1:7"\n[network.local]\nurl = "http://127.0.0.1:8"',
    )
    assert desk.resolve("mine").url == "http://127.0.0.1:7"
    assert desk.resolve("local").url == "http://127.0.0.1:8"  # no file says otherwise
    assert define_network(desk.project(), "mine", places=desk.places).origin is Origin.SETTINGS
    for name in ("staging", "testnet"):
        desk.write(desk.root / "dfx-backup.toml", f'[network.{name}]\nurl = "http://127.0.0.1:7"')
        with pytest.raises(ProjectError, match="has two meanings"):
            desk.resolve(name)


def test_other_words_are_urls_or_unknown(desk: Desk, write: Write) -> None:
    write(Path(desk.places.dfx_config) / "networks.json", {"stage": {"bind": "127.0.0.1:1"}})
    assert desk.resolve("http://127.0.0.1:8").url == "http://127.0.0.1:8"
    for name in ("stage", "playground", "", ".."):  # dfx's files mean nothing here
        with pytest.raises(ProjectError, match="has neither an environment nor a network") as no:
            desk.resolve(name)
        assert no.value.hint is not None
        assert "production" in no.value.hint


# -- canisters ------------------------------------------------------------------------------------


def test_ids_are_those_of_the_environment(desk: Desk) -> None:
    desk.started()
    desk.ids("cache", "local", backend=ONE, frontend=TWO)
    desk.ids("data", "staging", backend=TWO, frontend=ONE)
    desk.ids("data", "local", backend=TWO)  # not where ids of a managed network are
    assert desk.find(None, "backend") == CanisterRef(canister_id=ONE, name="backend")
    assert desk.find("staging", "backend").canister_id == TWO
    assert desk.find("staging", ONE) == CanisterRef(canister_id=ONE)
    with pytest.raises(ProjectError, match="'frontend' does not belong to the environment"):
        desk.find("staging", "frontend")
    with pytest.raises(
        ProjectError, match=r"has no id in the environment 'ic': .*ic.ids.json"
    ) as x:
        desk.find("ic", "backend")
    assert x.value.hint == "Create it with `icp canister create backend -e ic`."
    with pytest.raises(ProjectError, match=r"canister 'chat' is not in .*icp.yaml") as unknown:
        desk.find(None, "chat")
    assert "backend, frontend" in (unknown.value.hint or "")
    with pytest.raises(ProjectError, match="is not a principal"):
        desk.find(None, "rrkah-fqaaa-aaaaa-aaaaq-caa")


def test_a_network_means_its_only_environment(desk: Desk) -> None:
    desk.write(
        desk.root / "icp.yaml",
        "canisters: [{name: backend, build: {}}]\n"
        "networks:\n"
        "  - {name: one, mode: connected, url: 'http://127.0.0.1:1', root-key: fetch}\n"
        "  - {name: two, mode: connected, url: 'http://127.0.0.1:2', root-key: fetch}\n"
        "environments: [{name: a, network: one}, {name: b, network: two}, {name: c, network: two}]",
    )
    desk.ids("data", "a", backend=ONE)
    desk.ids("data", "b", backend=TWO)
    assert desk.find("one", "backend").canister_id == ONE
    with pytest.raises(ProjectError, match="names have ids in environments only") as caught:
        desk.find("two", "backend")
    assert caught.value.hint == (
        "Give a principal, or an environment with `--network`: a, b, c, ic, local."
    )
    assert desk.find("two", ONE).canister_id == ONE
    with pytest.raises(ProjectError, match="names have ids in environments only"):
        desk.listed("http://127.0.0.1:1")


def test_listing_has_the_order_of_icp_yaml(desk: Desk) -> None:
    desk.started("box")
    desk.ids("cache", "red", frontend=ONE, backend=TWO, removed=ONE)
    assert desk.listed("red") == CanisterListing(
        found=(
            CanisterRef(canister_id=TWO, name="backend"),  # type: ignore[arg-type] # a new type
            CanisterRef(canister_id=ONE, name="frontend"),  # type: ignore[arg-type] # the same
        ),
        without_id=(),
        elsewhere=(),
    )
    assert desk.listed("blue").without_id == ("backend", "frontend")
    assert desk.listed("staging").without_id == ("backend",)


@pytest.mark.parametrize("content", [{"backend": "x"}, {"backend": 1}, [], b"{", {"backend": None}])
def test_ids_that_are_bad(desk: Desk, content: object) -> None:
    desk.write(desk.root / ".icp/data/mappings/ic.ids.json", content)
    with pytest.raises(ProjectError, match=r"ic\.ids\.json"):
        desk.find("ic", "backend")


def test_canisters_in_folders(desk: Desk) -> None:
    desk.write(desk.root / "icp.yaml", "canisters: [services/*, web]")
    desk.write(desk.root / "services/b/canister.yaml", "name: bee")
    desk.write(desk.root / "services/a/canister.yaml", "name: ay")
    desk.write(desk.root / "services/README.md", "")
    desk.write(desk.root / "services/none/x", "")
    desk.write(desk.root / "web/canister.yaml", "name: web")
    assert desk.listed("ic").without_id == ("ay", "bee", "web")
    desk.write(desk.root / "web/canister.yaml", "name: ay")
    with pytest.raises(ProjectError, match="has two canisters of the name 'ay'"):
        desk.listed("ic")
    desk.write(desk.root / "web/canister.yaml", "name: 'a:y'")
    with pytest.raises(ProjectError, match=r"canister.yaml: name may have letters"):
        desk.listed("ic")
    (desk.root / "web/canister.yaml").unlink()
    with pytest.raises(ProjectError, match=r"canisters.1 names a folder without canister.yaml"):
        desk.listed("ic")
    assert desk.find("ic", ONE).canister_id == ONE  # a principal needs none of this


def test_an_environment_with_a_canister_that_is_not_there(desk: Desk) -> None:
    desk.write(desk.root / "icp.yaml", "environments: [{name: e, network: ic, canisters: [x]}]")
    with pytest.raises(ProjectError, match="names the canister 'x', which the project does not"):
        desk.listed("e")


# -- workspaces -----------------------------------------------------------------------------------


def project(*canisters: str, **dependencies: str) -> str:
    return json.dumps(
        {
            "canisters": [{"name": name, "build": {}} for name in canisters],
            "dependencies": [{"name": n, "path": path} for n, path in dependencies.items()],
        }
    )


def test_a_member_of_a_workspace_belongs_to_its_root(desk: Desk) -> None:
    """A diamond: both services name the same mail project, which the root does not name."""
    desk.write(desk.root / "icp.yaml", project("app", a="vendor/a", b="./vendor/b"))
    desk.write(desk.root / "vendor/a/icp.yaml", project("svc", mail="../mail"))
    desk.write(desk.root / "vendor/b/icp.yaml", project("svc", post="../../vendor/mail"))
    desk.write(desk.root / "vendor/mail/icp.yaml", project("inbox"))
    desk.write(desk.root / "vendor/mail/src/x", "")
    found = desk.project(desk.root / "vendor/mail/src")
    assert (found.root, found.kind) == (desk.root, ProjectKind.ICP)
    names = desk.listed("ic").without_id
    assert names == ("app", "vendor/a:svc", "vendor/mail:inbox", "vendor/b:svc")
    desk.ids("data", "ic", **{"vendor/mail:inbox": ONE})
    assert desk.find("ic", "vendor/mail:inbox").canister_id == ONE


def test_a_project_that_nobody_names_stays_alone(desk: Desk) -> None:
    """Up to the first that does not name it: the one above that is not asked any more."""
    desk.write(desk.root.parent / "icp.yaml", project(shop="shop", inner="shop/web/inner"))
    desk.write(desk.root / "icp.yaml", project("app"))
    desk.write(desk.root / "web/inner/icp.yaml", "")
    assert desk.project(desk.root / "web/inner").root == desk.root / "web/inner"
    assert desk.project().root == desk.root.parent


@pytest.mark.parametrize(
    "above",
    ["dependencies: [", "- x", "dependencies: [{path: 7}]", "dependencies: 7", "other: 1", b"\xff"],
)
def test_what_can_not_be_read_above_names_nobody(desk: Desk, above: object) -> None:
    desk.write(desk.root.parent / "icp.yaml", above)
    assert desk.project().root == desk.root


def test_dependencies_in_a_circle(desk: Desk) -> None:
    desk.write(desk.root / "icp.yaml", project("app", a="a"))
    desk.write(desk.root / "a/icp.yaml", project("svc", back=".."))
    assert desk.project(desk.root / "a").root == desk.root
    assert desk.listed("ic").without_id == ("app", "a:svc")


def test_a_dependency_that_is_not_there(desk: Desk) -> None:
    desk.write(desk.root / "icp.yaml", project("app", a="gone"))
    with pytest.raises(ProjectError, match="the dependency 'a' is not there"):
        desk.listed("ic")


def test_a_project_of_both_tools_is_no_member_for_dfx(desk: Desk) -> None:
    desk.write(desk.root / "icp.yaml", project(a="a"))
    desk.write(desk.root / "a/icp.yaml", "")
    desk.write(desk.root / "a/dfx.json", {})
    both = find_project(desk.root / "a", driver=DriverName.DFX)
    assert both is not None
    assert (both.root, both.kind, both.icp) == (desk.root / "a", ProjectKind.DFX, None)
