"""What the process is set to."""

import subprocess
import sys

import pytest

BLOCK = 64 << 20
FAULTS = """
import resource
from steadyrank.components.environment import keep_freed_memory

{call}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

b"x" * {size}
before = faults()
for _ in range(4):
    b"x" * {size}
print((faults() - before) // 4)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the setting is glibc's")
def test_freed_memory_is_kept_for_the_next_step():
    pages = BLOCK // 4096
    found = []
    for call in ("", "keep_freed_memory()"):
        program = FAULTS.format(call=call, size=BLOCK)
        done = subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True
        )
        found.append(int(done.stdout))
    given_back, kept = found
    assert given_back > 0.5 * pages
    assert kept < 0.01 * pages
