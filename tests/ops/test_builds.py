"""Other builds of the same sources: under sanitizers, and with the CUDA kernels on the host."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.parametrize("script", ["sanitize.sh", "host_cuda/run.sh"])
def test_the_script_passes(script: str) -> None:
    run = subprocess.run(
        [HERE / script],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHON": sys.executable},
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
