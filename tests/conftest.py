"""Shared by all tests."""

import os

# Small arrays gain nothing from threads, and lose much where tests run beside other work.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings

# Time limits per example only measure how busy the machine is. Where one failure stops everybody, the examples are always
# the same; new ones are tried elsewhere.
settings.register_profile("sepvox", deadline=None, max_examples=40, derandomize="CI" in os.environ)
settings.load_profile("sepvox")
