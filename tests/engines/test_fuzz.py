"""Random programs run the same on both engines; `python -m tests.engines.fuzz` runs as many as one likes."""

import pytest

from .fuzz import outcome

EACH, MANY = 8, 200


def check(first, count):
    results = {seed: outcome(seed) for seed in range(first, first + count)}
    assert not {seed: found.note for seed, found in results.items() if found.verdict == "different"}
    assert sum(found.verdict == "same" for found in results.values()) > count // 2


@pytest.mark.parametrize("block", range(12))
@pytest.mark.filterwarnings("ignore")
def test_random_programs_run_the_same_on_both_engines(block):
    check(block * EACH, EACH)


@pytest.mark.exhaustive
@pytest.mark.parametrize("block", range(12))
@pytest.mark.filterwarnings("ignore")
def test_many_random_programs_run_the_same_on_both_engines(block):
    check(10_000 + block * MANY, MANY)
