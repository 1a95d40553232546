"""`scripts/serve-release`: what dfx asks for, and nothing else."""

import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.release import layout, serve
from tests.fakes.dfx.manifest import highest_version, parse

MANIFEST = (layout.ROOT / "extension.json").read_text(encoding="utf-8")


@pytest.fixture
def release(tmp_path: Path) -> layout.Release:
    """A release with archives that hold nothing."""
    made = layout.release(tmp_path / "release")
    made.assets.mkdir(parents=True)
    for machine in layout.PLATFORMS:
        made.archive(machine).write_bytes(machine.encode())
    for name in layout.MANIFESTS:
        text = (layout.ROOT / name).read_text(encoding="utf-8")
        (made.folder / name).write_text(text, encoding="utf-8")
    (tmp_path / "secret").write_text("not yours")
    return made


@pytest.fixture
def base(release: layout.Release) -> Iterator[str]:
    with serve.server(release.folder, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://localhost:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        content: bytes = answer.read()
    return content


def test_dfx_finds_everything_that_it_asks_for(base: str, release: layout.Release) -> None:
    text = get(f"{base}/extension.json").decode()
    parse(text)
    fields = json.loads(text)
    template = fields.pop("download_url_template")
    assert fields == json.loads(MANIFEST)
    version = highest_version(get(f"{base}/dependencies.json").decode(), "0.32.0")
    assert version == release.version
    for machine in layout.PLATFORMS:
        url = template
        for name, value in (
            ("tag", f"backup-v{version}"),
            ("basename", f"backup-{machine}"),
            ("archive-format", "tar.gz"),
        ):
            url = url.replace("{{" + name + "}}", value)
        assert get(url) == machine.encode()


def test_the_address_is_the_one_that_was_asked(base: str) -> None:
    told = json.loads(get(f"{base.replace('localhost', '127.0.0.1')}/extension.json"))
    assert told["download_url_template"].startswith("http://127.0.0.1:")


def test_a_strange_host_is_not_repeated(base: str) -> None:
    request = urllib.request.Request(f"{base}/extension.json", headers={"Host": "evil.example"})
    told = json.loads(get(request))  # type: ignore[arg-type] - urlopen takes both
    assert told["download_url_template"].startswith(f"{base}/")


@pytest.mark.parametrize("path", ["/../secret", "/%2e%2e/secret", "/nothing"])
def test_nothing_else_is_served(base: str, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(f"{base}{path}")
    caught.value.close()
    assert caught.value.code == 404


def test_the_command_prints_what_to_type(release: layout.Release) -> None:
    argv = [sys.executable, "scripts/serve-release", "--port", "0", "--release"]
    with subprocess.Popen(
        [*argv, str(release.folder)], cwd=layout.ROOT, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        lines = [server.stdout.readline() for _ in range(3)]
        command = lines[2].split()
        assert command[:3] == ["dfx", "extension", "install"]
        parse(get(command[3]).decode())
        server.terminate()


def test_without_a_release_it_names_the_build(tmp_path: Path) -> None:
    argv = [sys.executable, "scripts/serve-release", "--release", str(tmp_path)]
    done = subprocess.run(argv, cwd=layout.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "make build" in done.stderr
