"""The command line: ``cotan info``, ``cotan rules``, ``cotan cache`` and ``cotan explain``."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import linecache
import os
import platform
import runpy
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from . import engines
from .api.audit import audit, describe, rule_matrix
from .core.errors import CotanError
from .explanation.derivation import NAMED
from .explanation.explain import Explanation, explain
from .explanation.page import page_of
from .explanation.serve import PageServer

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
    explained = commands.add_parser("explain", help="how a derivative of a function came about, as text or as a page")
    explained.add_argument("function", metavar="FILE:NAME", help="a function of a Python file, as model.py:loss")
    explained.add_argument("--args", default="", help='its arguments, as Python with np and the names of the file: "np.ones(3), 2.0"')
    explained.add_argument("--transform", default="grad", choices=NAMED)
    explained.add_argument("--argnums", type=int, nargs="+", default=[0], help="the arguments by which it is differentiated")
    explained.add_argument("-o", "--output", metavar="PAGE.html", help="write a page instead of text")
    explained.add_argument("--serve", action="store_true", help="show the page on a local port, and make it anew when the file changes")
    explained.add_argument("--port", type=int, default=0, help="the port; any free one by default")
    chosen = parser.parse_args(arguments)
    if chosen.command == "explain":
        return explain_function(chosen)
    if chosen.command == "cache":
        return show_cache(chosen.what)
    return info() if chosen.command == "info" else show_rules(chosen.op)


def explain_function(chosen: argparse.Namespace) -> int:
    """Print, write or serve the explanation of a function."""
    name, _, attribute = chosen.function.rpartition(":")
    path = Path(name)
    if not name or not path.is_file():
        print(f"cotan explain: there is no file {name or chosen.function!r}; write FILE:NAME, as model.py:loss", file=sys.stderr)
        return 2

    def make() -> Explanation:
        linecache.checkcache()
        names = runpy.run_path(str(path))
        if attribute not in names:
            raise SystemExit(f"cotan explain: {path} has no {attribute!r}")
        args = eval(f"({chosen.args},)" if chosen.args.strip() else "()", {"np": np, **names})
        return explain(names[attribute], *args, transform=chosen.transform, argnums=tuple(chosen.argnums))

    if chosen.serve:
        server = PageServer(path, lambda: page_of(make()), chosen.port)
        print(f"{server.url} shows {chosen.function}; Ctrl-C ends it", flush=True)
        with server, suppress(KeyboardInterrupt):
            server.serve_forever()
        return 0
    try:
        found = make()
    except CotanError as error:
        print(error, file=sys.stderr)
        return 1
    if chosen.output:
        found.save(chosen.output)
        print(f"wrote {chosen.output}")
    else:
        print(found)
    return 0


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
