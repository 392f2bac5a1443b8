"""Settings of all tests."""

import os

# Two threads on cores that other processes use wait for each other; the systems here are too small to gain anything.
os.environ.setdefault("OMP_NUM_THREADS", "1")
