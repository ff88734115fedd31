"""The memory that work takes at its peak, in a process of its own."""

import subprocess
import sys

# Not getrusage, whose peak begins with that of the process that started this one: the tests'.
# A 5 makes the peak what is resident now (proc_pid_clear_refs(5)).
_SCRIPT = """
{setup}
from pathlib import Path
def kilobytes(key):
    return int(Path("/proc/self/status").read_text().split(key + ":")[1].split()[0])
Path("/proc/self/clear_refs").write_text("5")
before = kilobytes("VmRSS")
{work}
print(kilobytes("VmHWM") - before)
"""


def peak_bytes(setup: str, work: str) -> int:
    """Return what the lines `work`, after the lines `setup`, add to the memory at their peak."""
    script = _SCRIPT.format(setup=setup, work=work)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return 1024 * int(done.stdout.splitlines()[-1])
