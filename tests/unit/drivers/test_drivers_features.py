"""Versions in order, and what each of them can do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfx_backup.drivers.features import DfxFeature, ToolVersion, dfx_can, require_dfx
from dfx_backup.errors import ToolError


def v(text: str) -> ToolVersion:
    return ToolVersion.parse(text)


def test_versions_are_found_in_what_tools_print() -> None:
    assert v("dfx 0.32.0\n") == ToolVersion((0, 32, 0))
    assert v("dfx 0.23.0-beta.3") == ToolVersion((0, 23, 0), ("beta", "3"))
    assert v("0.29.2-beta.0+build.7") == ToolVersion((0, 29, 2), ("beta", "0"))
    assert str(v("dfx 0.23.0-beta.3")) == "0.23.0-beta.3"


def test_the_order_is_that_of_semantic_versioning() -> None:
    ordered = [
        "0.9.9",
        "0.23.0-alpha",
        "0.23.0-alpha.1",
        "0.23.0-alpha.beta",
        "0.23.0-beta",
        "0.23.0-beta.2",
        "0.23.0-beta.3",
        "0.23.0-beta.11",
        "0.23.0-rc.1",
        "0.23.0",
        "0.23.1",
        "0.100.0",
        "1.0.0",
    ]
    versions = [v(text) for text in ordered]
    backwards = versions[::-1]
    assert sorted(backwards) == versions
    assert v("0.23.0") >= v("0.23.0-rc.1")
    assert v("0.23.0") == v("0.23.0+7")


@pytest.mark.parametrize("text", ["", "dfx", "dfx 0.32", "version: unknown", "1.2.3.4"])
def test_a_text_without_a_version_is_refused(text: str) -> None:
    with pytest.raises(ToolError, match="no version can be read"):
        v(text)


@given(st.text(max_size=60))
def test_no_text_makes_the_reader_fail_otherwise(text: str) -> None:
    try:
        version = v(text)
    except ToolError:
        return
    assert v(str(version)) == version


@pytest.mark.parametrize(
    ("version", "can"),
    [
        ("0.22.0", set()),
        ("0.23.0-beta.2", set()),
        ("0.23.0-beta.3", {"SNAPSHOTS"}),
        ("0.25.0", {"SNAPSHOTS", "PLAINTEXT_REFUSED"}),
        ("0.29.1", {"SNAPSHOTS", "PLAINTEXT_REFUSED"}),
        ("0.29.2-beta.0", {"SNAPSHOTS", "PLAINTEXT_REFUSED", "TRANSFERS"}),
        ("0.30.1", {"SNAPSHOTS", "PLAINTEXT_REFUSED", "TRANSFERS", "RESUME"}),
        ("0.31.0", {"SNAPSHOTS", "PLAINTEXT_REFUSED", "TRANSFERS", "RESUME"}),
        ("0.32.0", {feature.name for feature in DfxFeature}),
    ],
)
def test_what_each_version_of_dfx_can_do(version: str, can: set[str]) -> None:
    assert {feature.name for feature in DfxFeature if dfx_can(feature, v(version))} == can


def test_a_version_that_is_too_old_is_refused_with_the_reason() -> None:
    with pytest.raises(ToolError) as caught:
        require_dfx(DfxFeature.SNAPSHOTS, v("dfx 0.22.0"))
    assert "dfx 0.22.0 is too old" in caught.value.message
    assert "0.23.0-beta.3" in caught.value.message
    assert "--driver agent" in (caught.value.hint or "")
    require_dfx(DfxFeature.SNAPSHOTS, v("0.23.0-beta.3"))
