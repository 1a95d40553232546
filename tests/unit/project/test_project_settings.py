"""dfx-backup.toml."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dfx_backup.errors import ProjectError
from dfx_backup.ic.root_keys import MAINNET_ROOT_KEY
from dfx_backup.project.settings import (
    CanisterChoices,
    RetentionSettings,
    SetSettings,
    Settings,
    find_settings,
    read_settings,
)

Write = Callable[[Path, object], Path]

FULL = f"""
repository = "backups"

[network.stage]
url = "https://stage.example/"
root_key = "{MAINNET_ROOT_KEY.hex().upper()}"

[network."http://10.0.0.1:8080"]
root_key = "{MAINNET_ROOT_KEY.hex()}"

[canister.chat]

[canister.ledger]
keep_on_chain = 2
tags = ["nightly"]

[set.all]
canisters = ["chat", "ledger"]
stop_order = ["ledger", "chat"]
timeout = "2m"

[set.one]
canisters = ["chat"]

[retention]
keep_last = 3
keep_daily = -1
keep_within = "1y"
keep_tag = ["gold", "a,b"]
"""


def test_everything(root: Path, write: Write) -> None:
    settings = read_settings(write(root / "dfx-backup.toml", FULL))
    assert settings.repository == "backups"
    assert settings.networks["stage"].url == "https://stage.example"
    assert settings.networks["stage"].root_key == MAINNET_ROOT_KEY
    assert settings.networks["http://10.0.0.1:8080"].url is None
    assert settings.canisters == {
        "chat": CanisterChoices(),
        "ledger": CanisterChoices(keep_on_chain=2, tags=("nightly",)),
    }
    assert settings.sets["all"] == SetSettings(
        canisters=("chat", "ledger"), stop_order=("ledger", "chat"), timeout_s=120
    )
    assert settings.sets["one"] == SetSettings(canisters=("chat",), stop_order=("chat",))
    assert settings.retention == RetentionSettings(
        last=3, daily=-1, within="1y", tags=(("gold",), ("a", "b"))
    )


def test_nothing(root: Path, write: Write) -> None:
    assert read_settings(root / "dfx-backup.toml") == Settings()
    assert find_settings(root) == Settings()
    file = write(root / "dfx-backup.toml", "")
    assert read_settings(file) == Settings(file=file)


def test_the_nearest_file_is_found(root: Path, write: Write) -> None:
    write(root.parent / "dfx-backup.toml", 'repository = "far"')
    assert find_settings(root / "a/b").repository == "far"
    write(root / "dfx-backup.toml", 'repository = "near"')
    assert find_settings(root / "a/b").repository == "near"


@pytest.mark.parametrize(
    ("content", "key", "reason"),
    [
        ("=", "", "not valid TOML"),
        (b"\xff", "", "not UTF-8"),
        ("a = " + "[" * 100_000, "", "not valid TOML"),
        ("repository = 1", "repository", "must be text, not a number"),
        ("repository = 2026-01-01", "repository", "must be text, not a date"),
        ("repositry = 'x'", "repositry", "is not known"),
        ("network = 1", "network", "must be an object, not a number"),
        ("[network]\nurl = 'http://a'", "network.url", "must be an object, not text"),
        ("[network.a]\nroot-key = ''", "network.a.root-key", "is not known"),
        ("[network.a]\nurl = 'a'", "network.a.url", "is not the URL of a replica"),
        ("[network.a]\nurl = 1", "network.a.url", "must be text"),
        ("[network.a]\nroot_key = 'zz'", "network.a.root_key", "is not a root key"),
        ("[network.a]\nroot_key = '3081'", "network.a.root_key", "is not a root key"),
        ("[canister.chat]\nspeed = 1", "canister.chat.speed", "is not known"),
        ("[set.x]\ncanister = []", "set.x.canister", "is not known"),
        ("[retention]\nlast = 1", "retention.last", "is not known"),
        ("[retention]\nkeep_last = '1'", "retention.keep_last", "must be a whole number"),
        ("[retention]\nkeep_last = -2", "retention.keep_last", "-1 for all"),
        ("[retention]\nkeep_tag = 'x'", "retention.keep_tag", "must be a list"),
        ("[canister.a]\nkeep_on_chain = 10", "canister.a.keep_on_chain", "from 0 to 9"),
        ("[canister.a]\ntags = [1]", "canister.a.tags.0", "must be text"),
        ("[set.x]", "set.x.canisters", "must name at least one"),
        ("[set.x]\ncanisters = ['a', 'a']", "set.x.canisters", "twice"),
        ("[set.x]\ncanisters = ['a']\nstop_order = ['b']", "set.x.stop_order", "each once"),
        ("[set.x]\ncanisters = ['a']\ntimeout = '2d'", "set.x.timeout", "must be a duration"),
        ("[set.x]\ncanisters = ['a']\ntimeout = 0", "set.x.timeout", "longer than nothing"),
    ],
)
def test_a_bad_file_is_one_error_with_file_key_and_reason(
    root: Path, write: Write, content: object, key: str, reason: str
) -> None:
    file = write(root / "dfx-backup.toml", content)
    with pytest.raises(ProjectError) as caught:
        read_settings(file)
    assert caught.value.message.startswith(f"{file}: {key} " if key else f"{file} ")
    assert reason in caught.value.message
    assert caught.value.exit_code == 30


def test_an_unknown_key_is_answered_with_the_known_ones(root: Path, write: Write) -> None:
    with pytest.raises(ProjectError) as caught:
        read_settings(write(root / "dfx-backup.toml", "[network.a]\nrootkey = ''"))
    assert caught.value.hint == "Keys that are known here: root_key, url."
