"""Choices by masks without branches: bit for bit what ``np.where`` gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.ops import choosing
from cotan.ops.choosing import chosen

N = choosing.FEWEST
SPECIAL = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324, 1.5])


def numbers(dtype: Any, seed: int) -> np.ndarray[Any, Any]:
    """Numbers of which a half are special, in an irregular order."""
    rng = np.random.default_rng(seed)
    x = np.where(rng.random(2 * N) < 0.5, rng.choice(SPECIAL, 2 * N), rng.normal(size=2 * N))
    if np.dtype(dtype).kind == "c":
        y = np.empty(2 * N, dtype)
        y.real, y.imag = x, x[::-1]
        return y
    with np.errstate(all="ignore"):
        return x.astype(dtype)


def masks() -> dict[str, np.ndarray[Any, Any]]:
    """One that changes at random, and one that changes once."""
    return {"irregular": np.random.default_rng(3).random(2 * N) < 0.5, "regular": np.arange(2 * N) < N}


def same(one: Any, other: Any) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "complex128", "int64", "bool"])
@pytest.mark.parametrize("mask", masks().values(), ids=list(masks()))
def test_a_choice_has_the_bits_of_numpys(dtype: str, mask: Any) -> None:
    x, y = (numbers(dtype, seed) if np.dtype(dtype).kind in "fc" else (np.arange(2 * N) * seed % 7).astype(dtype) for seed in (1, 2))
    scalar = x.dtype.type
    for yes, no in ((x, y), (x, scalar(0)), (scalar(0), y), (x, scalar(1)), (scalar(1), y), (x, x[5]), (scalar(0), scalar(1))):
        assert same(chosen(mask, yes, no), np.where(mask, yes, no))
    for yes, no in ((x, 0), (2, y), (x, np.asarray(y[3]))):
        assert same(chosen(mask, yes, no), np.where(mask, yes, no))


def test_minus_zero_is_a_choice_of_its_own() -> None:
    mask, x = masks()["irregular"], numbers("float64", 1)
    assert same(chosen(mask, x, -0.0), np.where(mask, x, -0.0))
    assert same(chosen(mask, x + 0j, complex(0.0, -0.0)), np.where(mask, x + 0j, complex(0.0, -0.0)))


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_arrays_need_not_be_contiguous(dtype: str) -> None:
    x, y, mask = numbers(dtype, 1), numbers(dtype, 2), masks()["irregular"]
    square = (2, N)
    views = [
        (mask.reshape(square).T, x.reshape(square).T, y.reshape(square).T),
        (mask[::-1], x[::-1], y),
        (np.repeat(mask, 2)[::2], np.repeat(x, 2)[::2], y),
        (mask, np.broadcast_to(x[7], x.shape), y),
        (np.broadcast_to(mask[:N], square), x.reshape(square), np.broadcast_to(y[:N], square)),
    ]
    for here, yes, no in views:
        for a, b in ((yes, no), (yes, x.dtype.type(0)), (x.dtype.type(0), no)):
            assert chosen(here, a, b).tobytes() == np.where(here, a, b).tobytes()


def test_a_masked_infinity_does_no_harm_in_a_large_array() -> None:
    x = np.where(masks()["irregular"], 4.0, 0.0)
    gradient = cotan.grad(lambda x: cnp.sum(cnp.where(x > 0.0, cnp.log(x), 0.0)))(x)
    assert np.array_equal(gradient, np.where(x > 0.0, 0.25, 0.0))
