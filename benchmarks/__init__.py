"""Timings of cotan beside its peers; `python3 dev.py bench` runs them. One module for each kind of table, all on `harness`."""
