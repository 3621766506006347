"""The command line: ``cotan info``, ``cotan rules``, ``cotan cache`` and ``cotan explain``."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import inspect
import linecache
import os
import platform
import runpy
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

import cotan

from . import engines
from .api.audit import audit, describe, rule_matrix
from .core.errors import CotanError
from .core.origin import describe_error, is_external_file
from .explanation.derivation import NAMED
from .explanation.explain import Explanation, explain
from .explanation.page import page_of
from .explanation.serve import PageServer, error_page

__all__ = ["main"]

KNOWN = {"np": np, "cotan": cotan, "nan": np.nan, "inf": np.inf}
"""The names that arguments may use beside those of the file."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="cotan", description="Automatic differentiation of NumPy programs.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="versions, processor, threads, engines")
    rules = commands.add_parser("rules", help="the rule matrix: every op and which rules it has, needs, lacks")
    rules.add_argument("op", nargs="*", help="ops to show in full")
    cache = commands.add_parser("cache", help="compiled code on disk: where it is and how much, or remove it")
    cache.add_argument("what", choices=("info", "clear"))
    story = commands.add_parser("explain", help="how a derivative of a function came about, as text or as a page")
    story.add_argument("function", metavar="FILE:NAME", help="a function of a Python file, as model.py:loss or model.py:net.loss")
    arguments_help = 'its arguments, as Python with np, cotan, nan, inf and the names of the file: "np.ones(3), scale=2.0"'
    story.add_argument("--args", default="", help=arguments_help)
    story.add_argument("--transform", default="grad", choices=NAMED)
    story.add_argument("--argnums", type=int, nargs="+", default=[0], help="the arguments by which it is differentiated")
    story.add_argument("-o", "--output", metavar="PAGE.html", help="write a page instead of text")
    story.add_argument("--serve", action="store_true", help="show the page on a local port, and make it anew when the file changes")
    story.add_argument("--port", type=int, default=0, help="the port; any free one by default")
    chosen = parser.parse_args(arguments)
    run: dict[str, Callable[[], int]] = {
        "info": info,
        "rules": lambda: show_rules(chosen.op),
        "cache": lambda: show_cache(chosen.what),
        "explain": lambda: explain_function(chosen),
    }
    try:
        status = run[chosen.command]()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


class Failure(Exception):  # noqa: N818 - what is wrong in a call of the command
    """The text says what is wrong; ``status`` is the exit status."""

    def __init__(self, text: str, status: int = 2):
        super().__init__(text)
        self.status = status


def explain_function(chosen: argparse.Namespace) -> int:
    """Print, write or serve the explanation of a function."""
    try:
        path, name = source_of(chosen.function)
        if chosen.serve:
            return serve(chosen, path, name)
        text = explained(chosen, path, name, page_of if chosen.output else str)
        if not chosen.output:
            print(text)
            return 0
        try:
            Path(chosen.output).write_text(text, encoding="utf-8")
        except OSError as error:
            raise Failure(f"cotan explain: {chosen.output} cannot be written: {error.strerror}.") from None
        print(f"wrote {chosen.output}")
        return 0
    except Failure as failure:
        print(failure, file=sys.stderr)
        return failure.status


def serve(chosen: argparse.Namespace, path: Path, name: str) -> int:
    """Serve the page until Ctrl-C."""

    def make() -> str:
        try:
            return explained(chosen, path, name, page_of)
        except Failure as failure:
            return error_page(str(failure))

    server = PageServer(path, make, chosen.port)
    print(f"{server.url} shows {chosen.function}; Ctrl-C ends it", flush=True)
    with server, suppress(KeyboardInterrupt):
        server.serve_forever()
    return 0


def source_of(function: str) -> tuple[Path, str]:
    """The file and the name in ``model.py:loss``."""
    file, colon, name = function.rpartition(":")
    if not (colon and name) and Path(file or function).is_file():
        file = file or function
        raise Failure(f"cotan explain: which function of {file}? Write {file}:NAME.")
    if not file or not Path(file).is_file():
        raise Failure(f"cotan explain: there is no file {file or function!r}; write FILE:NAME, as model.py:loss.")
    return Path(file), name


def explained(chosen: argparse.Namespace, path: Path, name: str, form: Callable[[Explanation], str]) -> str:
    """The explanation of the function ``name`` of a file, as text or as a page.

    Raises:
        Failure: anything goes wrong, in the file of the user too.
    """
    linecache.checkcache()
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # as Python does for a file that it runs
    try:
        names = runpy.run_path(str(path))
    except (Exception, SystemExit) as error:
        raise Failure(users_traceback(error), 1) from None
    try:
        function = reduce(getattr, name.split(".")[1:], names[name.partition(".")[0]])
    except (KeyError, AttributeError):
        raise Failure(f"cotan explain: {path} has no {name!r}.") from None
    try:
        args, kwargs = eval(f"(lambda *args, **kwargs: (args, kwargs))({chosen.args})", {**KNOWN, **names})
    except Exception as error:
        raise Failure(f"cotan explain: --args {chosen.args!r}: {describe_error(error)}") from None
    check_arguments(function, name, args, kwargs)
    try:
        return form(explain(function, *args, transform=chosen.transform, argnums=tuple(chosen.argnums), **kwargs))
    except CotanError as error:
        raise Failure(str(error), 1) from None
    except (Exception, SystemExit) as error:
        raise Failure(users_traceback(error), 1) from None


def check_arguments(function: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Refuse arguments that a function does not take."""
    do = 'Give its arguments by --args, as --args "np.ones(3), scale=2.0".'
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise Failure(f"cotan explain: {name}{signature}: {error}. {do}") from None
    if not args:
        raise Failure(f"cotan explain: {name}{signature} has no argument by which it is differentiated. {do}")


def users_traceback(error: BaseException) -> str:
    """The traceback of an error, without the frames between the user and his file."""
    shown = traceback.TracebackException.from_exception(error)
    part: traceback.TracebackException | None = shown
    while part is not None:
        part.stack[:] = [frame for frame in part.stack if not is_external_file(frame.filename) and not frame.filename.endswith("runpy.py")]
        part = part.__cause__ or part.__context__
    return "".join(shown.format()).rstrip()


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
