"""Whatever stands in the files of a project of icp-cli: an answer or one clear error."""

import json
from dataclasses import replace

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dfx_backup.ic.root_keys import MAINNET_ROOT_KEY
from dfx_backup.project.canister_ids import list_canisters, resolve_canister
from dfx_backup.project.discover import find_project
from dfx_backup.project.networks import resolve_network
from tests.property.test_project_garbage import (
    CHAT,
    JSON,
    TEXT,
    as_file,
    attempt,
    many,
    near,
    rarely,
    user,
)

KEY = MAINNET_ROOT_KEY.hex()
CANISTER = near(name="chat", build={}) | rarely("chat") | rarely("ch*")
NETWORK = near(name="lab", mode="connected", url="http://127.0.0.1:9", **{"root-key": KEY})
ENVIRONMENT = near(name="staging", network="lab", canisters=["chat"])
DEPENDENCY = near(name="far", path="far")


def listed(item: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.lists(item, max_size=3).flatmap(rarely)


ICP_YAML = st.fixed_dictionaries(
    {},
    optional={
        "canisters": listed(CANISTER),
        "networks": listed(NETWORK),
        "environments": listed(ENVIRONMENT),
        "dependencies": listed(DEPENDENCY),
    },
).flatmap(rarely)
DESCRIPTOR = near(
    v="1",
    id="1",
    gateway={"port": 9, "fixed": True, "host": "localhost"},
    **{"root-key": KEY},
)


def as_yaml(values: st.SearchStrategy[object]) -> st.SearchStrategy[bytes]:
    """As JSON, which is YAML; as YAML of another program; and in some cases as neither."""
    printed = values.map(lambda value: yaml.safe_dump(value, allow_unicode=True).encode())
    words = st.text("abc:-[]{}&*!|>'\"\n #~,?%@`0x<", max_size=40).map(str.encode)
    other = {0: words, 1: printed, 2: printed}
    return st.integers(0, 7).flatmap(lambda dice: other.get(dice, as_file(values)))


def without_surrogates(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError:
        return False
    return True


@settings(many, max_examples=80)  # PyYAML is slow
@given(
    icp_yaml=as_yaml(ICP_YAML.filter(without_surrogates)),
    far=as_yaml(ICP_YAML.filter(without_surrogates)),
    chat=as_yaml(near(name="chat").filter(without_surrogates)),
    ids=as_file(near(chat=CHAT) | JSON),
    descriptor=as_file(DESCRIPTOR),
    port=as_file(near(id="1")),
    name=TEXT,
    network=rarely("staging", TEXT) | st.sampled_from([None, "lab", "ic"]),
)
def test_projects_of_icp_cli(
    *,
    icp_yaml: bytes,
    far: bytes,
    chat: bytes,
    ids: bytes,
    descriptor: bytes,
    port: bytes,
    name: str,
    network: str | None,
) -> None:
    files = {
        "shop/icp.yaml": icp_yaml,
        "shop/far/icp.yaml": far,
        "shop/chat/canister.yaml": chat,
        "shop/.icp/data/mappings/staging.ids.json": ids,
        "shop/.icp/cache/mappings/local.ids.json": ids,
        "shop/.icp/cache/networks/local/descriptor.json": descriptor,
        "ports/9.json": port,
    }
    with user(files) as (root, usual):
        places = replace(usual, icp_ports=str(root.parent / "ports"))

        def everything() -> None:
            project = find_project(root)
            assert project is not None
            assert project.icp is not None
            found = resolve_network(project, network, places=places)
            attempt(lambda: list_canisters(project, found, places=places))
            attempt(lambda: resolve_canister(project, found, name, places=places))
            attempt(lambda: resolve_canister(project, found, "chat", places=places))

        attempt(everything)
        attempt(lambda: find_project(root / "far"))
