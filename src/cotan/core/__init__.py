"""The core: types, ops, programs, tracing, errors. Nothing here knows a single op or a single transformation by name."""
