"""Every common mistake gives exactly its golden message."""

from __future__ import annotations

import pytest

from cotan.core.errors import CotanError

from .messages import TEXTS, golden, message_of
from .mistakes import MISTAKES


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda f: f.__name__)
def test_mistake_has_its_golden_text(mistake):
    assert message_of(mistake) == golden(mistake.__name__).read_text()


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda f: f.__name__)
def test_mistake_raises_an_error_of_cotan_that_says_what_to_do(mistake):
    with pytest.raises(CotanError) as caught:
        mistake()
    assert "What to do: " in str(caught.value)
    assert "docs/errors.md#" in str(caught.value)


def test_no_golden_text_is_left_over():
    assert {path.stem for path in TEXTS.glob("*.txt")} == {f.__name__ for f in MISTAKES}
