"""Canister ids: dfx's precedence, stale ids of local networks, and the errors."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dfx_backup.errors import ProjectError
from dfx_backup.model import CanisterRef, Places
from dfx_backup.project.canister_ids import all_canisters, list_canisters, resolve_canister
from dfx_backup.project.discover import find_project
from dfx_backup.project.networks import resolve_network

Write = Callable[[Path, object], Path]
IDS = [
    "rrkah-fqaaa-aaaaa-aaaaq-cai",
    "ryjl3-tyaaa-aaaaa-aaaba-cai",
    "r7inp-6aaaa-aaaaa-aaabq-cai",
    "rkp4c-7iaaa-aaaaa-aaaca-cai",
]
ONE, TWO, THREE, FOUR = IDS
STALE = "not valid any more"


class Shop:
    """A dfx project, and the questions that tests ask about it."""

    def __init__(self, root: Path, places: Places, write: Write) -> None:
        self.root, self.places, self.write = root, places, write
        self.shared_id = Path(places.dfx_shared_data) / "network/local/network-id"

    def dfx(self, content: object) -> None:
        self.write(self.root / "dfx.json", content)

    def ids(self, folder: str, **ids: object) -> Path:
        return self.write(self.root / folder / "canister_ids.json", ids)

    def find(self, name: str, network: str | None = None) -> str:
        project = find_project(self.root)
        where = resolve_network(project, network, places=self.places)
        ref = resolve_canister(project, where, name, places=self.places)
        assert ref.name in (name, None)
        return ref.canister_id

    def refused(self, name: str, network: str | None = None) -> ProjectError:
        with pytest.raises(ProjectError) as caught:
            self.find(name, network)
        assert caught.value.exit_code == 30
        assert caught.value.message.isprintable()
        return caught.value


@pytest.fixture
def shop(root: Path, places: Places, write: Write) -> Shop:
    made = Shop(root, places, write)
    made.dfx({"canisters": {"chat": {}, "other": {}}})
    return made


def test_a_principal_needs_no_project(root: Path, places: Places) -> None:
    network = resolve_network(None, "ic", places=places)
    assert resolve_canister(None, network, ONE, places=places) == CanisterRef(canister_id=ONE)
    with pytest.raises(ProjectError, match=r"no dfx.json or icp.yaml at or above") as caught:
        resolve_canister(None, network, "chat", places=places)
    assert str(root) in caught.value.message


def test_a_principal_comes_before_a_name(shop: Shop) -> None:
    shop.dfx({"canisters": {ONE: {}}})
    shop.ids(".dfx/local", **{ONE: {"local": TWO}})
    assert shop.find(ONE) == ONE
    assert shop.find(ONE.upper()) == ONE


@pytest.mark.parametrize(
    ("principal", "what"),
    [
        ("aaaaa-aa", "management canister"),
        ("2vxsx-fae", "principal of a user"),
        ("k2t6j-2nvnp-4zjm3-25dtz-6xhaa-c7boj-5gayf-oj3xs-i43lp-teztq-6ae", "principal of a user"),
    ],
)
def test_principals_that_are_no_canister(shop: Shop, principal: str, what: str) -> None:
    assert what in shop.refused(principal).message


def test_ids_of_persistent_networks_are_in_the_project(shop: Shop) -> None:
    shop.ids("", chat={"ic": ONE, "local": TWO})
    shop.ids(".dfx/ic", chat={"ic": THREE})
    shop.ids(".dfx/local", chat={"local": FOUR, "ic": THREE})
    assert shop.find("chat", "ic") == ONE
    assert shop.find("chat") == FOUR


def test_ids_of_the_playground_and_of_ephemeral_networks_are_not(shop: Shop) -> None:
    shop.dfx(
        {
            "canisters": {"chat": {}},
            "networks": {"lab": {"providers": ["https://x.example"], "type": "ephemeral"}},
        }
    )
    shop.ids("", chat={"lab": ONE, "playground": ONE})
    shop.ids(".dfx/lab", chat={"lab": TWO})
    shop.ids(".dfx/playground", chat={"playground": THREE})
    assert shop.find("chat", "lab") == TWO
    assert shop.find("chat", "playground") == THREE


def test_ids_of_a_url(shop: Shop) -> None:
    shop.ids(".dfx/http___127_0_0_1_4943", chat={"http___127_0_0_1_4943": ONE})
    assert shop.find("chat", "http://127.0.0.1:4943") == ONE
    error = shop.refused("other", "http://127.0.0.1:4943")
    assert "names have ids on named networks only" in error.message


def test_remote_comes_first_and_pulled_last(shop: Shop) -> None:
    shop.dfx(
        {
            "canisters": {
                "chat": {"remote": {"id": {"ic": ONE, "__default": TWO}}},
                "dep": {"type": "pull", "id": THREE},
                "far": {"remote": {"id": {"ic": ONE}}},
            }
        }
    )
    assert shop.find("dep") == THREE
    shop.ids(".dfx/local", chat={"local": FOUR}, dep={"local": FOUR}, far={"local": FOUR})
    assert shop.find("chat", "ic") == ONE
    assert shop.find("chat") == TWO
    assert shop.find("dep") == FOUR
    assert shop.find("far") == FOUR
    assert shop.find("far", "ic") == ONE


def test_the_default_entry_of_the_ids_file(shop: Shop) -> None:
    shop.ids("", chat={"__default": ONE}, other={"ic": TWO, "__default": ONE})
    assert shop.find("chat", "ic") == ONE
    assert shop.find("other", "ic") == TWO


def test_a_name_that_dfx_json_does_not_have(shop: Shop) -> None:
    shop.ids("", extra={"ic": ONE})
    assert shop.find("extra", "ic") == ONE


@pytest.mark.parametrize(
    ("network", "command"),
    [
        (None, "`dfx canister create chat`"),
        ("ic", "`dfx canister create chat --network ic`"),
    ],
)
def test_a_name_without_an_id_is_told_what_to_do(
    shop: Shop, network: str | None, command: str
) -> None:
    error = shop.refused("chat", network)
    assert "canister 'chat' has no id on network" in error.message
    assert repr(network or "local") in error.message
    assert error.hint is not None
    assert command in error.hint


def test_an_unknown_name_is_answered_with_the_known_ones(shop: Shop) -> None:
    error = shop.refused("caht")
    assert "canister 'caht' is not in" in error.message
    assert error.hint is not None
    assert "chat, other" in error.hint
    assert shop.refused("\ud800").message


def test_a_mistyped_principal_is_told_so(shop: Shop) -> None:
    assert "is not a principal" in shop.refused(ONE.replace("rr", "rs")).message


def test_an_id_that_is_no_principal(shop: Shop) -> None:
    file = shop.ids("", chat={"ic": "oops"}, other={"ic": ONE})
    assert shop.find("other", "ic") == ONE
    assert shop.refused("chat", "ic").message == f"{file}: chat.ic is not a principal"


@pytest.mark.parametrize(
    ("content", "key", "reason"),
    [
        ("{", "", "not valid JSON"),
        ("[]", "", "must be an object"),
        ({"chat": 1}, "chat", "must be an object"),
        ({"chat": {"local": 1}}, "chat.local", "must be text"),
    ],
)
def test_a_bad_ids_file(shop: Shop, write: Write, content: object, key: str, reason: str) -> None:
    file = write(shop.root / ".dfx/local/canister_ids.json", content)
    error = shop.refused("chat")
    assert error.message.startswith(f"{file}: {key} " if key else f"{file} ")
    assert reason in error.message


class TestStaleIds:
    """dfx deletes ids of a shared local network that was started clean; they are never used."""

    def test_the_same_network_as_before(self, shop: Shop, write: Write) -> None:
        shop.ids(".dfx/local", chat={"local": ONE})
        write(shop.shared_id, {"created": "2026-01-01"})
        write(shop.root / ".dfx/local/network-id", {"created": "2026-01-01"})
        assert shop.find("chat") == ONE

    @pytest.mark.parametrize("copy", [None, {"created": "2025-12-31"}])
    def test_another_network_than_before(self, shop: Shop, write: Write, copy: object) -> None:
        file = shop.ids(".dfx/local", chat={"local": ONE})
        write(shop.shared_id, {"created": "2026-01-01"})
        if copy is not None:
            write(shop.root / ".dfx/local/network-id", copy)
        error = shop.refused("chat")
        assert STALE in error.message
        assert str(file) in error.message
        assert "started clean" in error.message
        assert error.hint is not None
        assert "dfx canister create chat" in error.hint
        assert file.exists()
        assert "is not in" in shop.refused("nobody").message

    def test_a_network_that_never_ran(self, shop: Shop, write: Write) -> None:
        shop.ids(".dfx/local", chat={"local": ONE})
        write(shop.root / ".dfx/local/network-id", {"created": "2025-12-31"})
        assert shop.find("chat") == ONE

    def test_remote_and_pulled_ids_are_not_concerned(self, shop: Shop, write: Write) -> None:
        shop.dfx(
            {
                "canisters": {
                    "chat": {"remote": {"id": {"local": TWO}}},
                    "dep": {"type": "pull", "id": THREE},
                }
            }
        )
        shop.ids(".dfx/local", chat={"local": ONE}, dep={"local": ONE})
        write(shop.shared_id, {"created": "2026-01-01"})
        assert shop.find("chat") == TWO
        assert shop.find("dep") == THREE

    def test_a_project_network_drops_the_ids_of_a_shared_one(
        self, shop: Shop, write: Write
    ) -> None:
        shop.dfx({"canisters": {"chat": {}}, "networks": {"local": {}}})
        shop.ids(".dfx/local", chat={"local": ONE})
        write(shop.shared_id, {"created": "2026-01-01"})
        assert shop.find("chat") == ONE
        write(shop.root / ".dfx/local/network-id", {"created": "2026-01-01"})
        assert "those of the shared local network" in shop.refused("chat").message

    def test_lists_do_not_use_them_either(self, shop: Shop, write: Write, places: Places) -> None:
        shop.ids(".dfx/local", chat={"local": ONE})
        write(shop.shared_id, {"created": "2026-01-01"})
        project = find_project(shop.root)
        network = resolve_network(project, None, places=places)
        with pytest.raises(ProjectError, match=STALE):
            all_canisters(project, network, places=places)


def test_listing(shop: Shop, places: Places) -> None:
    shop.dfx(
        {
            "canisters": {
                "b": {},
                "a": {"dependencies": ["c", "far"]},
                "c": {"dependencies": ["b"]},
                "new": {},
                "far": {"remote": {"id": {"local": FOUR}}},
                "dep": {"type": "pull", "id": FOUR},
            }
        }
    )
    shop.ids(".dfx/local", a={"local": ONE}, b={"local": TWO}, c={"local": THREE}, gone={})
    project = find_project(shop.root)
    network = resolve_network(project, None, places=places)
    listing = list_canisters(project, network, places=places)
    assert [(ref.name, ref.canister_id) for ref in listing.found] == [
        ("a", ONE),
        ("b", TWO),
        ("c", THREE),
    ]
    assert listing.without_id == ("new",)
    assert listing.elsewhere == ("dep", "far")
    ordered = all_canisters(project, network, places=places, dependency_order=True)
    assert [ref.name for ref in ordered] == ["b", "c", "a"]


def test_listing_without_a_project(places: Places) -> None:
    network = resolve_network(None, "ic", places=places)
    with pytest.raises(ProjectError, match="canisters by name can't be looked up"):
        all_canisters(None, network, places=places)
