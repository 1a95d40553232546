import struct

import pytest

from dfx_backup.transfer.float_text import F32, F64, float_text

# (value, text): thresholds of both notations, extremes, and neighbours that are not half as far.
DOUBLES = [
    (0.0, "0.0"),
    (-0.0, "-0.0"),
    (1.0, "1.0"),
    (-0.25, "-0.25"),
    (0.1, "0.1"),
    (1 / 3, "0.3333333333333333"),
    (123.456, "123.456"),
    (1e15, "1000000000000000.0"),
    (1e16, "1e+16"),
    (1.5e16, "1.5e+16"),
    (9007199254740992.0, "9007199254740992.0"),
    (12345678901234568.0, "1.2345678901234568e+16"),
    (1e-5, "0.00001"),
    (1.5e-5, "0.000015"),
    (1e-6, "1e-6"),
    (1.25e-7, "1.25e-7"),
    (1e23, "1e+23"),
    (2.0**-44, "5.684341886080802e-14"),
    (5e-324, "5e-324"),
    (2.2250738585072014e-308, "2.2250738585072014e-308"),
    (1.7976931348623157e308, "1.7976931348623157e+308"),
]
SINGLES = [
    (0.0, "0.0"),
    (-0.0, "-0.0"),
    (1.5, "1.5"),
    (0.1, "0.1"),
    (1 / 3, "0.33333334"),
    (16777216.0, "16777216.0"),
    (1e12, "1000000000000.0"),
    (1e13, "1e+13"),
    (1e-6, "0.000001"),
    (1e-7, "1e-7"),
    (1e-45, "1e-45"),
    (3.4028234663852886e38, "3.4028235e+38"),
    (1.1754943508222875e-38, "1.1754944e-38"),
    (8.5899346e9, "8589935000.0"),
]


@pytest.mark.parametrize(("value", "text"), DOUBLES)
def test_a_double_is_printed_as_serde_json_prints_it(value: float, text: str) -> None:
    bits = struct.unpack("<Q", struct.pack("<d", value))[0]
    assert float_text(bits, F64) == text


@pytest.mark.parametrize(("value", "text"), SINGLES)
def test_a_single_is_printed_as_serde_json_prints_it(value: float, text: str) -> None:
    bits = struct.unpack("<I", struct.pack("<f", value))[0]
    assert float_text(bits, F32) == text


@pytest.mark.parametrize(
    ("bits", "form"),
    [
        (0x7FF0000000000000, F64),
        (0xFFF0000000000000, F64),
        (0x7FF8000000000000, F64),
        (0x7FF0000000000001, F64),
        (0x7F800000, F32),
        (0xFFC00001, F32),
    ],
)
def test_what_is_not_finite_has_no_text(bits: int, form: object) -> None:
    assert float_text(bits, form) is None  # type: ignore[arg-type] # parametrised
