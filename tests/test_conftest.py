import os
import subprocess
import sys
from pathlib import Path

import pytest

TEST = "tests/data/test_mnist.py::test_the_real_mnist_has_its_official_statistics"


@pytest.mark.parametrize(("ci", "outcome", "code"), [("true", "1 failed", 1), ("", "1 skipped", 0)])
def test_missing_real_data_skips_a_test_and_fails_it_in_ci(tmp_path, ci, outcome, code):
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-n0", "-p", "no:cacheprovider", TEST],
        cwd=Path(__file__).parents[1],
        env=os.environ | {"HPO_GN_DATA": str(tmp_path), "CI": ci},
        capture_output=True,
        text=True,
    )
    assert run.returncode == code, run.stdout + run.stderr
    assert outcome in run.stdout
