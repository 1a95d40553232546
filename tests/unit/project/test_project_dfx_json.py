"""dfx.json: what is read, and how each mistake is named."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from dfx_backup.errors import ProjectError
from dfx_backup.project.dfx_json import (
    Lifetime,
    in_dependency_order,
    read_dfx_json,
    read_networks_json,
)

Write = Callable[[Path, object], Path]
CHAT = "rrkah-fqaaa-aaaaa-aaaaq-cai"
BIG = "ryjl3-tyaaa-aaaaa-aaaba-cai"


def test_everything_that_backups_need(root: Path, write: Write) -> None:
    file = write(
        root / "dfx.json",
        {
            "version": 1,
            "dfx": "0.30.1",
            "defaults": {"build": {"packtool": "mops sources"}},
            "canisters": {
                "web": {"type": "assets", "source": ["dist"], "dependencies": ["chat"]},
                "chat": {"main": "src/main.mo", "remote": {"id": {"ic": CHAT, "__default": BIG}}},
                "ledger": {"type": "pull", "id": BIG.upper()},
                "odd": {"type": "azle", "id": "not read for this type"},
            },
            "networks": {
                "local": {"bind": "127.0.0.1:8000"},
                "stage": {"providers": ["https://stage.example"], "type": "ephemeral"},
                "play": {
                    "providers": ["https://icp0.io"],
                    "playground": {"playground_canister": BIG},
                },
                "kept": {"bind": "0.0.0.0:1", "type": "persistent"},
            },
            "somebody": {"else": "reads this"},
        },
    )
    config = read_dfx_json(file)
    assert config.dfx_version == "0.30.1"
    assert list(config.canisters) == ["chat", "ledger", "odd", "web"]
    assert config.canisters["chat"].kind == "motoko"
    assert config.canisters["chat"].remote_ids == {"ic": CHAT, "__default": BIG}
    assert config.canisters["ledger"].pull_id == BIG
    assert config.canisters["odd"].pull_id is None
    assert config.canisters["web"].dependencies == ("chat",)
    networks = config.networks
    assert networks["local"].lifetime is Lifetime.EPHEMERAL
    assert networks["stage"].lifetime is Lifetime.EPHEMERAL
    assert networks["play"].lifetime is Lifetime.PERSISTENT
    assert networks["play"].playground
    assert networks["kept"].lifetime is Lifetime.PERSISTENT


def test_nulls_are_as_good_as_nothing(root: Path, write: Write) -> None:
    config = read_dfx_json(
        write(root / "dfx.json", {"dfx": None, "canisters": None, "networks": None})
    )
    assert (config.dfx_version, config.canisters, config.networks) == (None, {}, {})


@pytest.mark.parametrize(
    ("content", "key", "reason"),
    [
        ("", "", "not valid JSON"),
        ("{", "", "line 1, column 2"),
        (b"\xff\xfe", "", "not UTF-8 text: byte 0"),
        ("\ufeff{}", "", "not valid JSON"),
        ("[]", "", "must be an object, not a list"),
        ("null", "", "must be an object, not null"),
        ("[" * 100_000, "", "too large or too deep"),
        ('{"dfx": ' + "9" * 5000 + "}", "", "too large or too deep"),
        ({"dfx": 1}, "dfx", "must be text, not a number"),
        ({"dfx": True}, "dfx", "must be text, not true or false"),
        ({"dfx": "0.\x1b30"}, "dfx", "control character"),
        ({"defaults": []}, "defaults", "must be an object, not a list"),
        ({"canisters": []}, "canisters", "must be an object, not a list"),
        ({"canisters": {"a": 1}}, "canisters.a", "must be an object, not a number"),
        ({"canisters": {"a": None}}, "canisters.a", "must be an object, not null"),
        ({"canisters": {"a": {"type": 1.5}}}, "canisters.a.type", "must be text, not a number"),
        ({"canisters": {"a": {"dependencies": "b"}}}, "canisters.a.dependencies", "must be a list"),
        (
            {"canisters": {"a": {"dependencies": ["b", 2]}}},
            "canisters.a.dependencies.1",
            "must be text",
        ),
        ({"canisters": {"a": {"remote": "x"}}}, "canisters.a.remote", "must be an object"),
        (
            {"canisters": {"a": {"remote": {"id": {"ic": "x"}}}}},
            "canisters.a.remote.id.ic",
            "must be a principal",
        ),
        ({"canisters": {"a": {"type": "pull"}}}, "canisters.a.id", "is missing"),
        ({"canisters": {"a\ud800": {"type": 1}}}, "canisters.a\\ud800.type", "must be text"),
        ({"networks": {"x": None}}, "networks.x", "must be an object, not null"),
        ({"networks": {"x": {"type": "forever"}}}, "networks.x.type", "persistent or ephemeral"),
        ({"networks": {"x": {"providers": []}}}, "networks.x.providers", "at least one URL"),
        ({"networks": {"x": {"providers": "y"}}}, "networks.x.providers", "must be a list"),
        ({"networks": {"x": {"playground": 1}}}, "networks.x.playground", "must be an object"),
    ],
)
def test_a_bad_file_is_one_error_with_file_key_and_reason(
    root: Path, write: Write, content: object, key: str, reason: str
) -> None:
    file = write(root / "dfx.json", content)
    with pytest.raises(ProjectError) as caught:
        read_dfx_json(file)
    message = caught.value.message
    assert message.startswith(f"{file}: {key} " if key else f"{file} ")
    assert reason in message
    assert message.isprintable()
    assert caught.value.exit_code == 30


def test_a_missing_file_is_named(root: Path) -> None:
    with pytest.raises(ProjectError, match=r"dfx.json is missing"):
        read_dfx_json(root / "dfx.json")


def test_shared_networks_stand_at_the_top_of_their_file(root: Path, write: Write) -> None:
    assert read_networks_json(root / "networks.json") == {}
    file = write(root / "networks.json", {"testnet": {"providers": ["https://t.example"]}})
    assert list(read_networks_json(file)) == ["testnet"]


def chain(**dependencies: list[str]) -> dict[str, object]:
    return {"canisters": {name: {"dependencies": on} for name, on in dependencies.items()}}


def test_dependency_order(root: Path, write: Write) -> None:
    config = read_dfx_json(
        write(root / "dfx.json", chain(a=["d", "c"], b=["c"], c=["d"], d=[], e=["a", "b"]))
    )
    assert in_dependency_order(config) == ("d", "c", "a", "b", "e")
    assert in_dependency_order(config, ["b"]) == ("d", "c", "b")
    assert in_dependency_order(config, ["e", "b"]) == ("d", "c", "a", "b", "e")
    assert in_dependency_order(config, []) == ()


def test_a_circle_is_shown(root: Path, write: Write) -> None:
    config = read_dfx_json(write(root / "dfx.json", chain(a=["b"], b=["c"], c=["b"])))
    with pytest.raises(ProjectError, match="b -> c -> b"):
        in_dependency_order(config)


def test_a_circle_of_odd_names_can_be_printed(root: Path, write: Write) -> None:
    config = read_dfx_json(write(root / "dfx.json", chain(**{"\u200b": ["\u200b"]})))
    with pytest.raises(ProjectError) as caught:
        in_dependency_order(config)
    assert caught.value.message.isprintable()


def test_a_dependency_that_is_not_there_is_named(root: Path, write: Write) -> None:
    config = read_dfx_json(write(root / "dfx.json", chain(a=["nobody"])))
    with pytest.raises(ProjectError, match=r"'nobody', which 'a' depends on, is not defined"):
        in_dependency_order(config)
    with pytest.raises(ProjectError, match=r"canister 'zzz' is not defined"):
        in_dependency_order(config, ["zzz"])


def test_a_long_chain_is_no_trouble(root: Path, write: Write) -> None:
    names = [f"c{i:04}" for i in range(2000)]
    links = {name: [after] for name, after in itertools.pairwise([*names, "last"])}
    config = read_dfx_json(write(root / "dfx.json", chain(last=[], **links)))
    assert in_dependency_order(config, ["c0000"]) == ("last", *reversed(names))
