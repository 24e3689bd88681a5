"""Ctrl-C that is never lost, also when it is pressed in the moment in which a command begins to wait."""

from __future__ import annotations

import os
import signal
import threading
import time

# By then the main thread has seen the interrupt, or waits.
_PAUSE_S = 0.05


def wake_at_interrupts() -> None:
    """Make Ctrl-C end a wait for a lock that begins at the same moment.

    Python handles a signal between two instructions of the main thread, or when it interrupts a system call of that
    thread. One that comes between the last look for signals and the call, as in `Future.result`, is handled after the
    wait, a minute later or never. A second signal, which nothing else uses and which does nothing, ends that wait.

    It is to be called once, on the main thread.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    # A call is interrupted for handlers of Python's alone.
    signal.signal(signal.SIGURG, lambda _, __: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    main_thread = threading.get_ident()
    threading.Thread(target=_wake, args=(reader, main_thread), name="drupelet-interrupts", daemon=True).start()


def _wake(reader: int, main_thread: int) -> None:
    # The pipe gets the number of each signal, that of the one below too.
    while numbers := os.read(reader, 64):
        if signal.SIGINT in numbers:
            time.sleep(_PAUSE_S)
            signal.pthread_kill(main_thread, signal.SIGURG)
