#!/usr/bin/env python3
"""Everything a developer runs, in one file that needs nothing but Python: `python3 dev.py demo | test | check | bench | docs`.

The tools live in `.venv`, which this file makes from the locked requirements (every package pinned by its hash) and makes again only
when a lock or the Python changes; a stamp inside it remembers what it was made from. The peers that cotan is
compared with (JAX, autograd, PyTorch, Numba) join the same environment the first time that `--peers` or `bench` asks for them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv"
STAMP = ENVIRONMENT / "made-from.json"
BINARIES = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BINARIES / ("python.exe" if os.name == "nt" else "python")
REQUIREMENTS, PEER_REQUIREMENTS = ROOT / "requirements" / "dev.txt", ROOT / "requirements" / "peers.txt"
OLDEST_PYTHON = (3, 11)
# On Linux the plain version would bring gigabytes of GPU libraries, so the processor-only build is named outright.
TORCH = "torch==2.13.0+cpu" if sys.platform == "linux" else "torch==2.13.0"
# Two workers fit in small machines; each with the threads of one, or the two would wait for each other's.
WORKERS = "2"
ONE_THREAD_EACH = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
# Of the workers' own code; what tests run in further processes is not counted. pyproject.toml says the rest.
COVERAGE = ("--cov=cotan", "--cov-report=term", "--cov-report=html")


class CommandError(Exception):
    """A command that dev.py ran ended with a non-zero exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exit code {code}")
        self.code = code


def say(text: str) -> None:
    """Print what dev.py itself has to say, at once and apart from the output of what it runs."""
    print(f"dev.py: {text}", flush=True)


def run(*command: str | Path, variables: dict[str, str] | None = None) -> None:
    """Run a command in the project's root; raise `CommandError` where it fails. The user's own environment wins over `variables`."""
    words = [str(word) for word in command]
    say("$ " + shlex.join(os.path.relpath(word, ROOT) if word.startswith(str(ROOT)) else word for word in words))
    code = subprocess.run(words, cwd=ROOT, check=False, env={**(variables or {}), **os.environ}).returncode
    if code:
        raise CommandError(code)


# ---------------------------------------------------------------------------------------------------------------- the environment


def fingerprint(*parts: Path | str) -> str:
    """A hash of files (their contents; nothing for one that is missing) and of strings."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.read_bytes() if isinstance(part, Path) and part.exists() else str(part).encode()
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


def read_stamp() -> dict[str, str]:
    """What the environment was made from, or nothing where there is none (or its making was cut short)."""
    if not (STAMP.exists() and PYTHON.exists()):
        return {}
    return dict(json.loads(STAMP.read_text()))


def pip(*arguments: str | Path) -> None:
    """Run the environment's pip, quietly."""
    run(PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments)


def make_base() -> None:
    """A fresh environment with the locked tools."""
    say(f"making {ENVIRONMENT.name} from {REQUIREMENTS.relative_to(ROOT)} (about half a minute)")
    venv.create(ENVIRONMENT, clear=True, with_pip=True)
    pip("--require-hashes", "-r", REQUIREMENTS)


def install_project() -> None:
    """The package itself, editable, with nothing fetched: its build back end and dependencies are locked too."""
    pip("--no-build-isolation", "--no-deps", "-e", ROOT)


def install_peers() -> None:
    """The systems that cotan is compared with. PyTorch may be missing: not every index offers its processor-only build."""
    say(f"adding the peers from {PEER_REQUIREMENTS.relative_to(ROOT)} and {TORCH}")
    pip("--require-hashes", "-r", PEER_REQUIREMENTS)
    try:
        pip("--no-deps", TORCH)
    except CommandError:
        say(f"{TORCH} is not offered by this machine's package index; going on without PyTorch, its columns will say 'not installed'")


def prepare(peers: bool = False) -> None:
    """Bring the environment up to date: each part is made again only when what it was made from has changed."""
    if sys.version_info < OLDEST_PYTHON:
        raise SystemExit(f"dev.py: cotan needs Python {'.'.join(map(str, OLDEST_PYTHON))} or newer; this is {sys.version.split()[0]}")
    parts: list[tuple[str, str, Callable[[], None]]] = [
        ("base", fingerprint(REQUIREMENTS, sys.version, str(ENVIRONMENT)), make_base),
        ("project", fingerprint(ROOT / "pyproject.toml"), install_project),
    ]
    if peers:
        parts.append(("peers", fingerprint(PEER_REQUIREMENTS, TORCH), install_peers))
    stamp = read_stamp()
    for name, wanted, make in parts:
        if stamp.get(name) == wanted:
            continue
        started = time.monotonic()
        make()
        stamp = {name: wanted} if name == "base" else {**stamp, name: wanted}
        STAMP.write_text(json.dumps(stamp, indent=2) + "\n")
        say(f"{name}: ready after {time.monotonic() - started:.0f} s")


# -------------------------------------------------------------------------------------------------------------------- the commands


def demo(_: argparse.Namespace) -> None:
    """Answer the questions of the thread that started cotan, fit a model to real data, and write how their derivatives came about."""
    prepare()
    run(PYTHON, ROOT / "examples" / "thread.py")
    run(PYTHON, ROOT / "examples" / "count_regression.py")
    run(PYTHON, ROOT / "examples" / "explain.py")


def test(arguments: argparse.Namespace) -> None:
    """Run the tests and the docstrings' examples; further arguments go to pytest."""
    prepare(peers=arguments.peers)
    chosen = [flag for flag, on in (("--all", arguments.all), ("--peers", arguments.peers)) if on]
    measured = COVERAGE if arguments.coverage else ()
    run(PYTHON, "-m", "pytest", "-n", WORKERS, *chosen, *measured, *arguments.rest, variables=ONE_THREAD_EACH)


def check(_: argparse.Namespace) -> None:
    """Lint, format, types, layers, documentation: all of them, then say which failed."""
    prepare()
    checks: list[tuple[str, list[str | Path]]] = [
        ("lint", [BINARIES / "ruff", "check"]),
        ("format", [BINARIES / "ruff", "format", "--check"]),
        ("types", [BINARIES / "basedpyright"]),
        ("layers", [BINARIES / "lint-imports"]),
    ]
    if has_documentation():
        checks.append(("documentation", sphinx_command()))
    failed: list[str] = []
    for name, command in checks:
        try:
            run(*command)
        except CommandError:
            failed.append(name)
    say("checks: " + ", ".join(f"{name} {'FAILED' if name in failed else 'ok'}" for name, _ in checks))
    if failed:
        raise CommandError(1)


def bench(arguments: argparse.Namespace) -> None:
    """Time cotan beside its peers; name tables to run only those, or say quick."""
    prepare(peers=True)
    run(PYTHON, "-m", "benchmarks", *arguments.rest)


def docs(_: argparse.Namespace) -> None:
    """Build the documentation, with every warning an error."""
    prepare()
    if not has_documentation():
        raise SystemExit("dev.py: there is no docs/conf.py to build from")
    run(*sphinx_command())
    say(f"open {os.path.relpath(ROOT / 'docs' / '_build' / 'html' / 'index.html')}")


def has_documentation() -> bool:
    """Whether the documentation can be built."""
    return (ROOT / "docs" / "conf.py").exists()


def sphinx_command() -> list[str | Path]:
    """The command that builds the documentation and stops at a warning, after having shown them all."""
    return [BINARIES / "sphinx-build", "-q", "-W", "--keep-going", ROOT / "docs", ROOT / "docs" / "_build" / "html"]


COMMANDS: tuple[Callable[[argparse.Namespace], None], ...] = (demo, test, check, bench, docs)
# Those that hand further arguments on to the tool that they run.
HANDING_ON = (test, bench)


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The command, its own options, and in `rest` what the tool it runs should get."""
    parser = argparse.ArgumentParser(prog="dev.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(metavar="command", required=True)
    for command in COMMANDS:
        subparser = commands.add_parser(command.__name__, help=command.__doc__, description=command.__doc__, allow_abbrev=False)
        subparser.set_defaults(command=command)
        if command is test:
            subparser.add_argument("--all", action="store_true", help="the exhaustive tests too, with the larger hypothesis profile")
            subparser.add_argument("--peers", action="store_true", help="the tests against JAX, autograd and PyTorch too")
            subparser.add_argument("--coverage", action="store_true", help="measure branch coverage; print it, and write it to htmlcov/")
    namespace, namespace.rest = parser.parse_known_args(words)
    if namespace.rest and namespace.command not in HANDING_ON:
        parser.error(f"{namespace.command.__name__} takes no arguments: {shlex.join(namespace.rest)}")
    return namespace


def main() -> int:
    """Run the command that was asked for; the exit code is its own."""
    arguments = parse(sys.argv[1:])
    try:
        arguments.command(arguments)
    except CommandError as failure:
        return failure.code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
