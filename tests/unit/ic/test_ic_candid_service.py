import time

import pytest

from dfx_backup.ic.candid import NAT64
from dfx_backup.ic.candid_service import methods

DID = """
// service : { not_this : () -> () query }
/* nor : () -> (); */
type Offset = nat64;
type Callback = func (text) -> ();
type Row = record { id : nat; "a -> (b" : text };
service : (record { owner : principal }) -> {
  plain : () -> ();
  "quoted \\"name\\"" : (from : Offset, "to" : nat64) -> (vec record { nat; blob }) query;
  deep : (record { a : nat }) -> (variant { ok : func () -> (); err }) composite_query;
  perhaps : (opt nat, bool, null) -> (blob) query;
  by_type : Callback;
  last : func (text) -> () oneway;
}
"""


def test_methods_are_told_in_order() -> None:
    found = {each.name: each for each in methods(DID)}

    assert [*found] == ["plain", 'quoted \\"name\\"', "deep", "perhaps", "last"]
    assert [each.query for each in found.values()] == [False, True, False, True, False]
    assert found["plain"].harmless == ()
    assert found['quoted \\"name\\"'].harmless == ((NAT64, 0), (NAT64, 0))
    assert found["deep"].harmless is None
    assert [value for _, value in found["perhaps"].harmless or ()] == [None, False, None]
    assert found["last"].harmless is None


@pytest.mark.parametrize(
    "text", ["", "service", "service : {", "a : (", 'a : ("', "/* a : () -> ()"]
)
def test_what_is_no_service_has_no_methods(text: str) -> None:
    assert methods(text) == ()


@pytest.mark.parametrize(
    "piece", ["/*", '"\\', "a:(", "a:(nat,", "(", "a : ", "a", "type a = b;", "a:()->()"]
)
def test_a_hostile_text_takes_no_time(piece: str) -> None:
    began = time.monotonic()
    methods(piece * (1 + 200_000 // len(piece)))
    assert time.monotonic() - began < 20
