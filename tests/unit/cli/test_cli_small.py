import io
import logging
from pathlib import Path

import pytest

from dfx_backup.cli import verbose
from dfx_backup.cli.proxies import proxy_for
from scripts.check_sizes import too_long
from tests.fakes.stage import Stage


@pytest.mark.parametrize(
    ("url", "env", "proxy"),
    [
        ("https://icp0.io", {}, None),
        ("https://icp0.io", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ("https://icp0.io", {"https_proxy": "http://q:1", "HTTPS_PROXY": "x"}, "http://q:1"),
        ("https://icp0.io", {"ALL_PROXY": "http://p:1"}, "http://p:1"),
        ("https://icp0.io", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": ".icp0.io"}, None),
        ("https://icp0.io", {"HTTPS_PROXY": "http://p:1", "no_proxy": "*"}, None),
        ("http://10.0.0.1:80", {"http_proxy": "http://p:1"}, "http://p:1"),
        ("http://10.0.0.1:80", {"HTTP_PROXY": "http://p:1"}, None),
        ("http://127.0.0.1:4943", {"http_proxy": "http://p:1"}, None),
        ("http://localhost:4943", {"ALL_PROXY": "http://p:1"}, None),
    ],
)
def test_the_proxy_is_the_usual_one(url: str, env: dict[str, str], proxy: str | None) -> None:
    assert proxy_for(url, env) == proxy


def test_the_log_is_clean_and_ends_with_the_run() -> None:
    stream, secrets = io.StringIO(), list[str]()
    logger = logging.getLogger("dfx_backup.drivers.process")

    with verbose.logging_to(stream, secrets):
        logger.debug("first %s", "\x1b[31mred")
        secrets.append("correct horse")
        logger.debug("password %s", "correct horse")
    logger.warning("too late")

    assert stream.getvalue() == "drivers.process: first red\ndrivers.process: password ***\n"
    assert logging.getLogger("dfx_backup").handlers == []


def test_a_crash_report_masks_what_was_read(tmp_path: Path) -> None:
    class Leaking(Stage):
        def canister(self, run, name, **_more):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN003, ANN202 - it only fails
            run.session.secrets.append("correct horse")
            raise RuntimeError(f"{name} and correct horse")

    stage = Leaking(tmp_path)

    assert stage.run("snapshot", "list", "chat") == 1

    [file] = (stage.state / "crashes").iterdir()
    assert "chat and ***" in file.read_text()
    assert "horse" not in file.read_text() + stage.stderr


def test_long_modules_and_functions_are_named() -> None:
    source = "x = 1\n" * 401
    function = "def long():\n" + "    pass\n" * 50

    assert list(too_long(source, "m.py")) == ["m.py: 401 lines; a module has at most 400"]
    assert list(too_long(function, "m.py")) == [
        "m.py:1: long has 51 lines; a function has at most 50"
    ]
    assert list(too_long("x = 1\n" * 400, "m.py")) == []
