"""Laws of the project itself: the locked requirements, the shipped data, and the demonstrations."""

from __future__ import annotations

import gzip
import hashlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("dev.txt", "peers.txt")


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_every_package_by_hash_and_names_no_host(lock: str) -> None:
    text = (ROOT / "requirements" / lock).read_text()
    assert "://" not in text
    requirements = re.split(r"\n(?=\S)", text.strip())
    assert len(requirements) > 10
    for requirement in requirements:
        assert re.match(r"[a-z0-9-]+==[\w.]+", requirement), requirement
        assert "--hash=sha256:" in requirement, requirement


@pytest.mark.parametrize("lock", LOCKS)
def test_every_tool_that_is_asked_for_is_locked(lock: str) -> None:
    wanted = (ROOT / "requirements" / lock).with_suffix(".in").read_text()
    names = {match[1] for match in re.finditer(r"^([a-z][\w-]*)", wanted, flags=re.MULTILINE)}
    locked = set(re.findall(r"^([a-z][\w-]*)==", (ROOT / "requirements" / lock).read_text(), flags=re.MULTILINE))
    assert len(names) > 5
    assert names <= locked, names - locked


def test_every_runtime_dependency_is_locked_at_or_above_its_lower_bound() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lock = (ROOT / "requirements" / "dev.txt").read_text()
    for dependency in project["dependencies"]:
        name, bound = dependency.split(">=")
        versions = re.findall(rf"^{name}==([\d.]+)", lock, flags=re.MULTILINE)
        assert versions, name
        wanted = tuple(map(int, bound.split(".")))
        assert all(tuple(map(int, version.split(".")))[: len(wanted)] >= wanted for version in versions), name


def test_the_shipped_data_is_the_published_file() -> None:
    content = gzip.decompress((ROOT / "examples" / "data" / "randhie.csv.gz").read_bytes())
    assert hashlib.sha256(content).hexdigest() in (ROOT / "examples" / "data" / "README.md").read_text()


@pytest.mark.parametrize("example", ["thread.py", "count_regression.py", "explain.py"])
def test_an_example_finds_every_answer_right(example: str) -> None:
    process = subprocess.run([sys.executable, ROOT / "examples" / example], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "src" / "cotan" / "py.typed").is_file()
