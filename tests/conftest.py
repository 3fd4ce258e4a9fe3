"""What holds for all tests."""

from __future__ import annotations

import signal

from hypothesis import settings

# How long an example takes says nothing on a busy machine.
settings.register_profile("runnerkit", deadline=None)
settings.load_profile("runnerkit")

# A shell starts its background jobs deaf to Ctrl-C, and so would be every program tested here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
