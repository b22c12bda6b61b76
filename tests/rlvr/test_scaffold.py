"""The scaffolded package works as it is written."""

import subprocess
import sys

import pytest

from rlvr.errors import ConfigError
from rlvr.scaffold import scaffold


def test_a_new_package_passes_its_own_tests(tmp_path):
    folder = scaffold("zeta-envs", tmp_path)
    info = tmp_path / "zeta_envs-0.1.0.dist-info"  # what installing it would write
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: zeta-envs\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[rlvr.envs]\nzeta = zeta_envs\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PYTHONPATH": f"{folder}:{tmp_path}"},
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["Zeta", "zeta_envs", "../zeta", "", "1zeta"])
def test_a_name_that_is_no_package_name_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="lower-case"):
        scaffold(name, tmp_path)


def test_nothing_is_overwritten(tmp_path):
    scaffold("zeta-envs", tmp_path)
    with pytest.raises(ConfigError, match="exists"):
        scaffold("zeta-envs", tmp_path)
