"""Random programs run the same on both engines; `python -m tests.engines.fuzz` runs as many as one likes."""

import pytest

from .fuzz import outcome

EACH = 25


@pytest.mark.parametrize("block", range(12))
@pytest.mark.filterwarnings("ignore")
def test_random_programs_run_the_same_on_both_engines(block):
    results = {seed: outcome(seed) for seed in range(block * EACH, (block + 1) * EACH)}
    assert not {seed: found.note for seed, found in results.items() if found.verdict == "different"}
    assert sum(found.verdict == "same" for found in results.values()) > EACH // 2
