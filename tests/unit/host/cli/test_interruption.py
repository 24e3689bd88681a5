"""Ctrl-C ends a wait of the main thread that has seen no sign of it."""

from __future__ import annotations

import subprocess
import sys

# A signal that another thread takes leaves the main thread in its wait, as one does that comes just before the wait.
WAITING = """
import signal, threading, time
from drupelet_host.cli.interruption import wake_at_interrupts
wake_at_interrupts()

def interrupt():
    time.sleep(0.2)
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Thread(target=interrupt).start()
begun = time.monotonic()
try:
    print(threading.Event().wait(30))
except KeyboardInterrupt:
    print("interrupted in time" if time.monotonic() < begun + 20 else "interrupted after the wait")
    # Nothing follows that would interrupt what a command does at its end.
    time.sleep(0.3)
    print("ended")
"""


def test_a_wait_that_begins_as_ctrl_c_is_pressed_ends() -> None:
    done = subprocess.run([sys.executable, "-c", WAITING], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "interrupted in time\nended\n"
