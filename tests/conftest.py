"""Shared by all tests."""

from hypothesis import settings

# Time limits per example only measure how busy the machine is.
settings.register_profile("sepvox", deadline=None, max_examples=40)
settings.load_profile("sepvox")
