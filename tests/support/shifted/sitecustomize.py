"""On the path of a process this makes its clock, and its children's, wrong by ``SHIFT_S`` seconds."""

import os
import time

shift_s = int(os.environ["SHIFT_S"])
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + shift_s
time.time_ns = lambda: _time_ns() + shift_s * 1_000_000_000
