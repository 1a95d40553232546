"""Networks: dfx's order of names, the running port, and which root key is trusted."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dfx_backup.errors import BackupError, ProjectError, UsageError
from dfx_backup.ic.root_keys import MAINNET_ROOT_KEY
from dfx_backup.model import Network, Places
from dfx_backup.project.address import is_loopback, read_port, read_root_key
from dfx_backup.project.discover import Project, find_project
from dfx_backup.project.networks import NetworkDefinition, Origin, define_network, resolve_network

Write = Callable[[Path, object], Path]
OTHER_KEY = MAINNET_ROOT_KEY[:-1] + b"\0"


class Desk:
    """A user's files, and the questions that tests ask about them."""

    def __init__(self, root: Path, places: Places, write: Write) -> None:
        self.root, self.places, self.write = root, places, write
        self.shared = Path(places.dfx_config) / "networks.json"
        self.data = Path(places.dfx_shared_data) / "network"

    def project(self) -> Project | None:
        return find_project(self.root)

    def networks(self, **networks: object) -> None:
        self.write(self.root / "dfx.json", {"networks": networks})

    def settings(self, text: str) -> None:
        self.write(self.root / "dfx-backup.toml", text)

    def define(self, name: str | None) -> NetworkDefinition:
        return define_network(self.project(), name, places=self.places)

    def resolve(self, name: str | None, root_key: bytes | None = None) -> Network:
        return resolve_network(self.project(), name, places=self.places, root_key=root_key)


@pytest.fixture
def desk(root: Path, places: Places, write: Write) -> Desk:
    return Desk(root, places, write)


def test_mainnet_is_built_in(desk: Desk) -> None:
    assert desk.resolve("ic") == Network(
        name="ic", url="https://icp0.io", root_key=MAINNET_ROOT_KEY
    )
    found = desk.define("ic")
    assert (found.is_ic, found.persistent, found.origin) == (True, True, Origin.BUILT_IN)


def test_mainnet_can_not_be_given_another_meaning(desk: Desk, write: Write) -> None:
    desk.networks(ic={"providers": ["http://127.0.0.1:1"]})
    write(desk.shared, {"ic": {"bind": "127.0.0.1:2"}})
    assert desk.resolve("ic").url == "https://icp0.io"
    desk.settings('[network.ic]\nurl = "http://127.0.0.1:3"')
    with pytest.raises(ProjectError, match=r"network.ic.url: network 'ic' is built in"):
        desk.resolve("ic")


def test_local_is_the_default_and_is_shared(desk: Desk) -> None:
    assert desk.resolve(None) == Network(name="local", url="http://127.0.0.1:4943", root_key=None)
    found = desk.define(None)
    assert (found.origin, found.persistent, found.data_folder) == (
        Origin.SHARED,
        False,
        desk.data / "local",
    )


def test_a_project_network_comes_before_a_shared_one(desk: Desk, write: Write) -> None:
    write(desk.shared, {"local": {"bind": "127.0.0.1:5000"}, "stage": {"bind": "127.0.0.1:5001"}})
    desk.networks(local={})
    own = desk.define("local")
    assert (own.url, own.origin) == ("http://127.0.0.1:8000", Origin.PROJECT)
    assert own.data_folder == desk.root / ".dfx/network/local"
    shared = desk.define("stage")
    assert (shared.url, shared.origin) == ("http://127.0.0.1:5001", Origin.SHARED)
    desk.networks()
    assert desk.define("local").url == "http://127.0.0.1:5000"


def test_playground_comes_last_of_the_names(desk: Desk) -> None:
    found = desk.define("playground")
    assert (found.url, found.is_ic, found.persistent) == ("https://icp0.io", True, False)
    desk.networks(playground={"providers": ["https://other.example"]})
    assert desk.define("playground").url == "https://other.example"


def test_a_url_is_a_network_with_a_name_of_its_own(desk: Desk) -> None:
    found = desk.define("http://127.0.0.1:4943/")
    assert found.dfx_name == "http___127_0_0_1_4943_"
    assert (found.url, found.name) == ("http://127.0.0.1:4943", "http://127.0.0.1:4943/")
    assert (found.origin, found.persistent, found.is_ic) == (Origin.URL, False, False)


@pytest.mark.parametrize(
    ("providers", "is_ic"),
    [
        (["https://icp0.io"], True),
        (["https://icp0.io/"], True),
        (["https://ic0.app"], False),
        (["https://icp0.io", "https://icp0.io"], False),
        (["http://icp0.io"], False),
    ],
)
def test_only_one_url_is_mainnet_for_dfx(desk: Desk, providers: list[str], is_ic: bool) -> None:  # noqa: FBT001 - a parameter of the test
    desk.networks(mine={"providers": providers})
    found = desk.define("mine")
    assert found.is_ic is is_ic
    assert found.persistent
    assert found.data_folder is None


def test_lifetimes_decide_about_ids(desk: Desk) -> None:
    desk.networks(
        a={"providers": ["https://x.example"], "type": "ephemeral"},
        b={"bind": "127.0.0.1:1", "type": "persistent"},
        c={"providers": ["https://icp0.io"], "playground": {}},
    )
    assert [desk.define(name).persistent for name in "abc"] == [False, True, False]


@pytest.mark.parametrize(
    ("content", "port"), [("51234", 51234), ("51234\n", 51234), ("", 4943), ("\n", 4943)]
)
def test_the_running_port_of_the_shared_network(
    desk: Desk, write: Write, content: str, port: int
) -> None:
    file = write(desk.data / "local/webserver-port", content)
    found = desk.define("local")
    assert found.url == f"http://127.0.0.1:{port}"
    assert found.port_file == (file if content.strip() else None)


def test_the_running_port_of_a_project_network(desk: Desk, write: Write) -> None:
    desk.networks(local={"bind": "127.0.0.1:0"})
    write(desk.data / "local/webserver-port", "1111")
    write(desk.root / ".dfx/network/local/webserver-port", "2222")
    assert desk.define("local").url == "http://127.0.0.1:2222"


@pytest.mark.parametrize("content", ["x", "0", "65536", "-1", "4943 4944", "٤٩٤٣"])
def test_a_port_file_that_holds_no_port_is_named(desk: Desk, write: Write, content: str) -> None:
    file = write(desk.data / "local/webserver-port", content)
    with pytest.raises(ProjectError, match="does not hold a port number") as caught:
        desk.resolve("local")
    assert str(file) in caught.value.message


@pytest.mark.parametrize(
    ("bind", "url"),
    [
        ("localhost:8000", "http://localhost:8000"),
        ("0.0.0.0:8000", "http://127.0.0.1:8000"),
        ("[::]:8000", "http://[::1]:8000"),
        ("[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_an_address_to_bind_becomes_one_to_call(desk: Desk, bind: str, url: str) -> None:
    desk.networks(local={"bind": bind})
    assert desk.resolve("local") == Network(name="local", url=url, root_key=None)


@pytest.mark.parametrize("bind", ["", "8000", "127.0.0.1", "a b:1", "x@y:1", "127.0.0.1:99999"])
def test_an_address_that_is_none_is_named(desk: Desk, bind: str) -> None:
    desk.networks(local={"bind": bind})
    if not bind:
        assert desk.resolve("local").url == "http://127.0.0.1:8000"
        return
    with pytest.raises(ProjectError, match=r"dfx.json: networks.local.bind .* is not an address"):
        desk.resolve("local")


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "ftp://x",
        "http://127.0.0.1@evil.example",
        "http://127.0.0.1\\@evil.example",
        "http://evil.example#@127.0.0.1",
        "http://x?y",
        "http://x:0",
        "http://x:99999",
        "http://[::1",
        "http://a b",
        "http://x/\n",
    ],
)
def test_urls_about_which_readers_disagree_are_refused(desk: Desk, url: str) -> None:
    with pytest.raises(ProjectError, match="is not the URL of a replica"):
        desk.resolve(url)
    desk.networks(mine={"providers": [url]})
    with pytest.raises(ProjectError):
        desk.resolve("mine")


@pytest.mark.parametrize("name", ["mainnet", "", "..", "a/b", "localhost:4943", "\ud800"])
def test_unknown_names_are_answered_with_the_known_ones(desk: Desk, name: str) -> None:
    desk.networks(stage={"providers": ["https://x.example"]})
    with pytest.raises(ProjectError, match="is not known in the project") as caught:
        desk.resolve(name)
    assert caught.value.hint is not None
    assert "ic, local, playground, stage" in caught.value.hint
    assert caught.value.message.isprintable()


def test_names_that_lead_elsewhere_are_refused(desk: Desk) -> None:
    desk.networks(**{"../../x": {"bind": "127.0.0.1:1"}})
    with pytest.raises(ProjectError, match="can't be the name of a network"):
        desk.resolve("../../x")


def test_without_a_project_shared_names_still_work(desk: Desk, write: Write) -> None:
    write(desk.shared, {"lab": {"providers": ["https://lab.example"]}})
    assert desk.project() is None
    assert desk.resolve("lab").url == "https://lab.example"
    assert desk.resolve("ic").root_key == MAINNET_ROOT_KEY


def test_settings_name_further_networks(desk: Desk, write: Write) -> None:
    write(desk.root / "dfx.json", {})
    desk.settings('[network.lab]\nurl = "http://10.0.0.9:8080/"')
    assert desk.resolve("lab") == Network(
        name="lab", url="http://10.0.0.9:8080", root_key=MAINNET_ROOT_KEY
    )
    assert desk.define("lab").persistent


def test_settings_can_say_where_local_is(desk: Desk) -> None:
    desk.settings('[network.local]\nurl = "http://127.0.0.1:9999"')
    assert desk.resolve(None).url == "http://127.0.0.1:9999"


def test_settings_can_not_give_a_name_a_second_meaning(desk: Desk) -> None:
    desk.networks(lab={"providers": ["https://lab.example"]})
    desk.settings('[network.lab]\nurl = "https://lab2.example"')
    with pytest.raises(ProjectError, match="two meanings"):
        desk.resolve("lab")


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:1",
        "http://LOCALHOST:1",
        "http://127.0.0.1:1",
        "http://127.8.9.10",
        "http://[::1]:1",
    ],
)
def test_on_loopback_the_root_key_is_fetched(desk: Desk, url: str) -> None:
    assert is_loopback(url)
    assert desk.resolve(url).root_key is None


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1.example:1",
        "http://localhost.example",
        "http://me.localhost:4943",
        "http://127.1",
        "http://2130706433",
        "http://0x7f000001",
        "http://192.168.0.1:4943",
        "http://[::2]",
        "https://ic0.app",
        "https://boundary.example",
    ],
)
def test_elsewhere_it_is_mainnets_and_never_fetched(desk: Desk, url: str) -> None:
    assert not is_loopback(url)
    assert desk.resolve(url).root_key == MAINNET_ROOT_KEY
    desk.networks(mine={"providers": [url]})
    assert desk.resolve("mine").root_key == MAINNET_ROOT_KEY


def test_a_pinned_key_counts_everywhere(desk: Desk) -> None:
    desk.networks(lab={"providers": ["https://lab.example"]}, local={})
    desk.settings(
        f'[network.lab]\nroot_key = "{OTHER_KEY.hex()}"\n'
        f'[network.local]\nroot_key = "{OTHER_KEY.hex()}"\n'
        f'[network."https://10.0.0.1"]\nroot_key = "{OTHER_KEY.hex()}"'
    )
    for name in ("lab", "local", "https://10.0.0.1", "https://10.0.0.1/"):
        assert desk.resolve(name).root_key == OTHER_KEY, name
    assert desk.resolve("https://10.0.0.2").root_key == MAINNET_ROOT_KEY


def test_the_command_line_comes_before_the_settings(desk: Desk) -> None:
    desk.settings(f'[network.lab]\nurl = "https://a.example"\nroot_key = "{OTHER_KEY.hex()}"')
    assert desk.resolve("lab", MAINNET_ROOT_KEY).root_key == MAINNET_ROOT_KEY
    assert desk.resolve("local", OTHER_KEY).root_key == OTHER_KEY


def test_mainnets_key_can_not_be_replaced(desk: Desk) -> None:
    with pytest.raises(UsageError) as caught:
        desk.resolve("ic", OTHER_KEY)
    assert caught.value.exit_code == 2
    assert desk.resolve("ic", MAINNET_ROOT_KEY).root_key == MAINNET_ROOT_KEY
    desk.settings(f'[network.ic]\nroot_key = "{OTHER_KEY.hex()}"')
    with pytest.raises(BackupError):
        desk.resolve("ic")


def test_root_keys_are_read_from_hexadecimal() -> None:
    assert read_root_key(MAINNET_ROOT_KEY.hex(), "--root-key") == MAINNET_ROOT_KEY
    for bad in ("", "zz", MAINNET_ROOT_KEY.hex()[:-2], "00" * 133, "\ud800"):
        with pytest.raises(ProjectError, match="--root-key is not a root key"):
            read_root_key(bad, "--root-key")


def test_ports() -> None:
    assert read_port(" 1\n") == 1
    assert read_port("65535") == 65535
    assert [read_port(text) for text in ("", "0", "65536", "1.5", "+1")] == [None] * 5
