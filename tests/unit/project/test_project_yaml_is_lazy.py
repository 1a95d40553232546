"""The parser of YAML is loaded for an icp.yaml, and for nothing else."""

import subprocess
import sys


def test_commands_without_an_icp_yaml_do_not_load_it() -> None:
    code = "import sys, dfx_backup.cli.connect; print('yaml' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "False"
