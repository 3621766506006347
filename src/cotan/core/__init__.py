"""The core: types, ops, programs, tracing, errors. Nothing here knows a single op or a single transformation by name."""

from time import time

IMPORTED = time()
"""When this process began to read the files of cotan: what has been changed on disk since then is perhaps not what runs here."""
