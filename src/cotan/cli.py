"""The command line: ``cotan info``, ``cotan rules`` and ``cotan cache``."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Sequence

from . import engines
from .api.audit import audit, describe, rule_matrix
from .core.errors import CotanError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="cotan", description="Automatic differentiation of NumPy programs.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="versions, processor, threads, engines")
    rules = commands.add_parser("rules", help="the rule matrix: every op and which rules it has, needs, lacks")
    rules.add_argument("op", nargs="*", help="ops to show in full")
    cache = commands.add_parser("cache", help="compiled code on disk: where it is and how much, or remove it")
    cache.add_argument("what", choices=("info", "clear"))
    chosen = parser.parse_args(arguments)
    if chosen.command == "cache":
        return show_cache(chosen.what)
    return info() if chosen.command == "info" else show_rules(chosen.op)


def show_cache(what: str) -> int:
    """Print the contents of the cache of compiled code, or the contents removed from it."""
    found = engines.disk_cache(clear=what == "clear")
    if found.folder is None:
        print("the cache is turned off")
        return 0
    print(f"{found.folder}: {found.entries} entries, {found.bytes / 1e6:.1f} MB{', removed' if what == 'clear' else ''}")
    return 0


def info() -> int:
    """Print the facts that a bug report needs."""
    rows = [
        ("cotan", version("cotan")),
        ("Python", f"{platform.python_version()} ({platform.python_implementation()})"),
        *((name, version(name)) for name in ("numpy", "scipy", "optree", "llvmlite")),
        ("platform", platform.platform()),
        ("processor", processor()),
        ("cores", str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())),
        (
            "threads",
            ", ".join(f"{k}={os.environ[k]}" for k in ("COTAN_NUM_THREADS", "OMP_NUM_THREADS") if k in os.environ) or "not limited",
        ),
        ("engines", "native, numpy"),
        ("peers", ", ".join(n for n in ("jax", "torch", "autograd") if importlib.util.find_spec(n)) or "none installed"),
        ("ops", str(sum(1 for _ in rule_matrix()))),
    ]
    for name, value in rows:
        print(f"{name:<10} {value}")
    return 0


def version(name: str) -> str:
    """The installed version of a distribution."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def processor() -> str:
    """The processor's name, if the system reports it."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    except OSError:
        return platform.processor() or platform.machine()


def show_rules(names: Sequence[str]) -> int:
    """Print the rule matrix, or the audit of the ops named."""
    if not names:
        print(describe())
        return 0
    for name in names:
        try:
            print(audit(name))
        except CotanError as error:
            print(error)
            return 1
    return 0
