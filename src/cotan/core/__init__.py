"""The core: types, ops, programs, tracing, errors. Nothing here knows a single op or a single transformation by name."""

from time import time

IMPORTED = time()
"""The time at which this process began to read the files of cotan: a file that is newer may differ from the running code."""
