"""A person presses Ctrl-C once."""

import signal
import subprocess
import sys

SWALLOWED = """
import sys, time
from pruneguard import cli

class Dropped:
    def __del__(self):
        raise KeyboardInterrupt

cli.hear_interrupts()
Dropped()
print("still here", flush=True)
time.sleep(60)
"""


def test_an_interrupt_that_a_finaliser_swallowed_is_heard_all_the_same():
    ran = subprocess.run([sys.executable, "-c", SWALLOWED], capture_output=True, text=True, check=False, timeout=50)
    assert ran.returncode == -signal.SIGINT
    assert ran.stdout == "still here\n"
    assert "Exception ignored" not in ran.stderr
