"""The real icp makes a viewer of snapshots, as docs/guides/least-privilege.md tells."""

import shlex
from pathlib import Path

import pytest

from tests.contract.icp_home import IcpHome
from tests.contract.replica_bench import identity
from tests.fakes.backup_project import PAGE
from tests.fakes.documents import ROOT, block
from tests.fakes.transfer_project import TransferProject

pytestmark = pytest.mark.judge
GUIDE = ROOT / "docs" / "guides" / "least-privilege.md"


def test_the_line_of_the_guide_lets_a_viewer_in(tmp_path: Path) -> None:
    home, folder = tmp_path / "icp-home", tmp_path / "project"
    home.mkdir()
    folder.mkdir()
    icp = IcpHome(home)
    with TransferProject.start(folder) as project:
        snapshot = project.plant(stable={0: b"seen"}, stable_size=PAGE)
        download = ("snapshot", "download", "note", snapshot, "--dir")
        assert project.run(*download, "before", identity="bob")[0] == 50
        words = shlex.split(block(GUIDE, "sh", "--add-snapshot-viewer"))
        assert words[:5] == ["icp", "canister", "settings", "update", "backend"]
        assert words[-2:] == ["-e", "ic"]
        names = {"backend": project.canister_id, "PRINCIPAL": identity("bob").principal.to_text()}
        replica = ["-n", project.server.url, "-k", project.server.root_key.hex()]

        icp.run(*(names.get(word, word) for word in words[1:-2]), *replica, "--identity", "alice")

        code, told = project.run(*download, "after", identity="bob")
        assert code == 0, told
        assert (project.folder / "after" / "stable_memory.bin").read_bytes()[:4] == b"seen"
        assert project.run("snapshot", "create", "note", identity="bob")[0] == 50
