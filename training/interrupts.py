"""While the command line is imported, and while the interpreter ends, an interrupt ends the process at once.

That is what SIGINT does by default; Python's handler would show a traceback.

Importing this module begins that, since it has to come before the other imports; ``over`` ends it.
"""

from __future__ import annotations

import signal
import threading

_ours = threading.current_thread() is threading.main_thread() and (
    signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not where the process ignores it, or has its own handler
)


def begin() -> None:
    """Let an interrupt end the process at once, if it was a KeyboardInterrupt before."""
    if _ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def over() -> None:
    """Let an interrupt be a KeyboardInterrupt again, if it was one before."""
    if _ours and signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


begin()
