"""icp.yaml: what is read of it, and what is refused with file, key and reason."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dfx_backup.errors import ProjectError
from dfx_backup.ic.root_keys import MAINNET_ROOT_KEY
from dfx_backup.project.icp_yaml import IcpConfig, IcpDependency, read_icp_yaml
from dfx_backup.project.yaml_file import read_yaml

Write = Callable[[Path, object], Path]
OTHER_KEY = MAINNET_ROOT_KEY[:-1] + b"\0"

FULL = f"""\
# a comment
canisters:
  - name: backend
    build: {{steps: []}}
    settings: {{freezing_threshold: 30d}}
  - web
networks:
  - name: testnet
    mode: connected
    url: https://testnet.example.org:8443/api/
    root-key: {OTHER_KEY.hex()}
  - name: proxied
    mode: connected
    api-url: "https://a.example"
    http-gateway-url: "https://b.example"
    root-key: mainnet
  - {{name: lab, mode: connected, url: "http://127.0.0.1:9", root-key: fetch}}
  - {{name: box, mode: managed, image: i, port-mapping: ["1:1"]}}
  - nets/far.yaml
environments:
  - name: staging
    network: testnet
    canisters: [backend]
    settings: {{backend: {{}}}}
  - {{name: none, canisters: []}}
  - envs/far.yaml
dependencies:
  - {{name: mail, path: ./vendor/mail, canisters: [inbox]}}
"""


@pytest.fixture
def read(root: Path, write: Write) -> Callable[[str], IcpConfig]:
    return lambda text: read_icp_yaml(write(root / "icp.yaml", text))


Read = Callable[[str], IcpConfig]


def test_everything_in_it(read: Read, root: Path, write: Write) -> None:
    write(root / "nets/far.yaml", "{name: far, mode: managed}")
    write(root / "envs/far.yaml", "name: distant\nnetwork: far")
    found = read(FULL)
    networks = found.networks
    assert sorted(networks) == ["box", "far", "ic", "lab", "local", "proxied", "testnet"]
    assert (networks["testnet"].url, networks["testnet"].root_key) == (
        "https://testnet.example.org:8443/api",
        OTHER_KEY,
    )
    assert (networks["proxied"].url, networks["proxied"].root_key) == (
        "https://a.example",
        MAINNET_ROOT_KEY,
    )
    assert (networks["lab"].fetches, networks["lab"].root_key) == (True, None)
    assert [name for name in sorted(networks) if networks[name].managed] == ["box", "far", "local"]
    assert sorted(found.environments) == ["distant", "ic", "local", "none", "staging"]
    assert found.environments["staging"].canisters == ("backend",)
    assert (found.environments["none"].network, found.environments["none"].canisters) == (
        "local",
        (),
    )
    assert found.environments["distant"].network == "far"
    assert found.dependencies == (IcpDependency(name="mail", path="./vendor/mail"),)


@pytest.mark.parametrize("text", ["", "# nothing\n", "canisters:\nnetworks: ~\n", "---\n{}\n"])
def test_an_empty_one_has_what_is_always_there(read: Read, text: str) -> None:
    found = read(text)
    assert {name: each.managed for name, each in found.networks.items()} == {
        "ic": False,
        "local": True,
    }
    assert {name: each.network for name, each in found.environments.items()} == {
        "local": "local",
        "ic": "ic",
    }


def test_local_may_be_another_network(read: Read) -> None:
    found = read(
        "networks: [{name: local, mode: connected, url: 'http://127.0.0.1:1', root-key: fetch}]"
    )
    assert not found.networks["local"].managed


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("canister: []", r"icp.yaml: canister is not known"),
        ("- a", r"icp.yaml must be an object"),
        ("networks: {}", r"icp.yaml: networks must be a list, not an object"),
        ("networks: [1]", r"icp.yaml: networks.0 must be an object, not a number"),
        ("networks: [{mode: managed}]", r"networks.0.name is missing"),
        ("networks: [{name: x}]", r"networks.0.mode is missing"),
        ("networks: [{name: x, configuration: {mode: managed}}]", r"networks.0.mode is missing"),
        ("networks: [{name: x, mode: pocket}]", r"networks.0.mode must be managed or connected"),
        ("networks: [{name: x, mode: connected, root-key: fetch}]", r"networks.0.url is missing"),
        (
            "networks: [{name: x, mode: connected, url: 'http://x'}]",
            r"networks.0.root-key is missing",
        ),
        (
            "networks: [{name: x, mode: connected, url: 'ftp://x', root-key: fetch}]",
            r"networks.0.url 'ftp://x' is not the URL",
        ),
        (
            "networks: [{name: x, mode: connected, url: 'http://x', root-key: abcd}]",
            r"networks.0.root-key is not a root key",
        ),
        ("networks: [{name: ic, mode: managed}]", r"networks.0 can't be named 'ic'"),
        (
            "networks: [{name: x, mode: managed}, {name: x, mode: managed}]",
            r"networks.1 has the name 'x' for a second time",
        ),
        ("networks: [nets/gone.yaml]", r"networks.0 names the file of a network .*gone.yaml"),
        ("environments: [{network: local}]", r"environments.0.name is missing"),
        (
            "environments: [{name: e, network: gone}]",
            r"environments.0 names the network 'gone', which is not defined",
        ),
        ("environments: [{name: e, canisters: [1]}]", r"environments.0.canisters.0 must be text"),
        ("dependencies: [{name: a}]", r"dependencies.0.path is missing"),
        ("dependencies: [{name: a, path: b, url: c}]", r"dependencies.0.url is not known"),
        ("canisters: [", r"icp.yaml is not valid YAML: .* at line 1, column"),
        ("networks: []\nnetworks: []", r"the key 'networks' stands twice at line 2, column 1"),
    ],
)
def test_what_is_wrong_is_named(read: Read, text: str, reason: str) -> None:
    with pytest.raises(ProjectError, match=reason) as caught:
        read(text)
    assert caught.value.exit_code == 30
    assert caught.value.message.isprintable()


# -- YAML itself ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("no", "no"),  # false in YAML 1.1
        ("on", "on"),
        ("1:30", "1:30"),  # ninety in YAML 1.1
        ("2026-01-01", "2026-01-01"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("=", "="),
        ("<<", "<<"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("'null'", "null"),
        ("012", 12),
        ("-7", -7),
        ("'7'", "7"),
        ("!!str 7", "7"),
        ("|\n  two\n  lines\n", "two\nlines\n"),
    ],
)
def test_words_mean_what_they_mean_in_yaml_1_2(
    root: Path, write: Write, word: str, value: object
) -> None:
    top = read_yaml(write(root / "x.yaml", f"key: {word}"))
    assert top is not None
    assert top.value == {"key": value}


def test_aliases_repeat(root: Path, write: Write) -> None:
    top = read_yaml(write(root / "x.yaml", "a: &it [1, {b: 2}]\nc: *it"))
    assert top is not None
    assert top.value == {"a": [1, {"b": 2}], "c": [1, {"b": 2}]}


def test_a_million_laughs_are_not_laughed(root: Path, write: Write) -> None:
    lines = ["a0: &a0 [x]"] + [
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 40)
    ]
    top = read_yaml(write(root / "x.yaml", "\n".join(lines)))
    assert top is not None
    assert len(top.at("a39").nodes()) == 10


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: &a [*a]", "an alias stands inside of what it repeats"),
        ("1: x", "a key must be text"),
        ("[a]: x", "a key must be text"),
        ("a: !!python/object:os.system x", "does not go with its tag"),
        ("a: !!binary QQ==", "does not go with its tag"),
        ("a: !!set {b}", "is not understood"),
        ("a: !!int x", "does not go with its tag"),
        ("a: !!bool x", "does not go with its tag"),
        ("a: *gone", "is not valid YAML"),
        ("a: 1\n---\nb: 2", "is not valid YAML"),
        ("a: \x07", "holds a character not allowed"),
        ('a: "\\UFFFFFFFF"', "is too large or too deep"),
        ("a: " + "[" * 1500, "is too large or too deep"),
    ],
)
def test_yaml_that_is_none_of_ours(root: Path, write: Write, text: str, reason: str) -> None:
    with pytest.raises(ProjectError, match=reason) as caught:
        read_yaml(write(root / "x.yaml", text))
    assert caught.value.message.isprintable()


def test_no_file_is_none_and_bytes_are_no_text(root: Path, write: Write) -> None:
    assert read_yaml(root / "gone.yaml") is None
    with pytest.raises(ProjectError, match="is not UTF-8"):
        read_yaml(write(root / "x.yaml", b"a: \xff"))
