"""Gradients through loops: small steps many times over, where a compiler wins by staying inside the loop.

A program is one text for all libraries. `compiled`, `gradients` and `Program` serve the other tables of compiled functions too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

import cotan
from benchmarks import handwritten
from benchmarks.harness import JAX, NUMBA, OURS, PRODUCTS, TORCH, C, Contestant, Row, Table, contestant, optional, timed

AHEAD = "ahead of the peers"


class Names:
    """A library for programs written once: its names of NumPy, with those given here in place of them or beside them."""

    def __init__(self, namespace: Any, **others: Any):
        self.namespace = namespace
        vars(self).update(others)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.namespace, name)


def torch_scan(f: Callable[[Any, Any], tuple[Any, Any]], carry: Any, xs: Any, length: int | None = None) -> tuple[Any, None]:
    """What `lax.scan` does, as a loop, for bodies that give nothing but the next carry."""
    for i in range(len(xs) if length is None else length):
        carry, _ = f(carry, None if xs is None else xs[i])
    return carry, None


def cotan_names() -> Names:
    """cotan, with `scan` and the transformations."""
    return Names(cotan.numpy, scan=cotan.lax.scan, transforms=cotan)


def jax_names(jax: Any) -> Names:
    """JAX, likewise."""
    return Names(jax.numpy, scan=jax.lax.scan, transforms=jax)


def torch_names(torch: Any) -> Names:
    """PyTorch, where most names are NumPy's, down to `axis` and `keepdims`."""
    return Names(torch, max=torch.amax, min=torch.amin, scan=torch_scan, transforms=torch.func)


def compiled(make: Callable[[Any], Callable[..., Any]], arguments: Sequence[np.ndarray]) -> dict[str, Contestant]:
    """What ``make(xp)`` gives for each library's names, compiled where the library compiles; `xp.transforms` has `grad` and its like."""
    function = cotan.jit(make(cotan_names()))

    def in_jax(jax: Any) -> Callable[[], Any]:
        function = jax.jit(make(jax_names(jax)))
        given = [jax.numpy.asarray(argument) for argument in arguments]
        return lambda: jax.block_until_ready(function(*given))

    def in_torch(torch: Any) -> Callable[[], Any]:
        function, given = make(torch_names(torch)), [torch.from_numpy(argument) for argument in arguments]
        return lambda: function(*given)

    return {
        OURS: lambda: function(*arguments),
        JAX: contestant(in_jax, optional("jax")),
        TORCH: contestant(in_torch, optional("torch")),
    }


def gradients(f: Callable[..., Any], arguments: Sequence[np.ndarray], active: int = 1) -> dict[str, Contestant]:
    """The gradient of ``f(xp, *arguments)`` by the first ``active`` arguments; in PyTorch by `autograd`, its fastest way."""

    def in_torch(torch: Any) -> Callable[[], Any]:
        xp, given = torch_names(torch), [torch.from_numpy(argument) for argument in arguments]
        for tensor in given[:active]:
            tensor.requires_grad_()
        return lambda: torch.autograd.grad(f(xp, *given), given[:active])

    by_transforms = compiled(lambda xp: xp.transforms.grad(partial(f, xp), argnums=tuple(range(active))), arguments)
    return {**by_transforms, TORCH: contestant(in_torch, optional("torch"))}


@dataclass(frozen=True)
class Program:
    """A row: the gradient of ``f(xp, *arguments)`` by the first ``active`` arguments, beside what others make of it by other means."""

    label: str
    f: Callable[..., Any]
    arguments: Sequence[np.ndarray]
    active: int = 1
    target: str = AHEAD
    others: dict[str, Contestant] = field(default_factory=dict)

    def row(self) -> Row:
        """The gradient in every library."""
        return timed(self.label, {**gradients(self.f, self.arguments, self.active), **self.others}, self.target)


def by_hand(place: str, sizes: Sequence[int], arguments: Sequence[np.ndarray], active: int) -> dict[str, Contestant]:
    """The column of C, whose answers are like the first ``active`` arguments."""
    return {C: handwritten.in_c(place, sizes, arguments, arguments[:active])}


def products(dtype: type, *shapes: tuple[int, int, int, int]) -> dict[str, Contestant]:
    """What a program's matrix products cost by themselves, in NumPy: for each (times, n, k, m) so many of (n, k) times (k, m)."""
    rng = np.random.default_rng(0)
    factors = [
        (times, rng.normal(size=(n, k)).astype(dtype), rng.normal(size=(k, m)).astype(dtype), np.empty((n, m), dtype))
        for times, n, k, m in shapes
    ]

    def multiply() -> None:
        for times, a, b, out in factors:
            for _ in range(times):
                np.matmul(a, b, out=out)

    return {PRODUCTS: multiply}


def lorenz_end(xp: Any, state: Any) -> Any:
    """Where 1000 Runge-Kutta steps on the Lorenz attractor lead."""

    def velocity(s: Any) -> Any:
        return xp.stack([10.0 * (s[1] - s[0]), s[0] * (28.0 - s[2]) - s[1], s[0] * s[1] - 8.0 / 3.0 * s[2]])

    def step(s: Any, _: Any) -> tuple[Any, None]:
        h = 0.01
        k1 = velocity(s)
        k2 = velocity(s + h / 2 * k1)
        k3 = velocity(s + h / 2 * k2)
        k4 = velocity(s + h * k3)
        return s + h / 6 * (k1 + 2.0 * k2 + 2.0 * k3 + k4), None

    return xp.scan(step, state, None, length=1000)[0]


def lorenz(xp: Any, state: Any) -> Any:
    """The sum of its coordinates."""
    return xp.sum(lorenz_end(xp, state))


def rnn(xp: Any, w: Any, u: Any, b: Any, xs: Any, h: Any) -> Any:
    """A recurrent network of tanh."""
    return xp.sum(xp.scan(lambda h, x: (xp.tanh(x @ w + h @ u + b), None), h, xs)[0] ** 2)


def lstm(xp: Any, w: Any, u: Any, b: Any, xs: Any, h: Any) -> Any:
    """A network of long short-term memory; the gates are input, forget, output and candidate."""
    n = h.shape[1]

    def step(carry: Any, x: Any) -> tuple[Any, None]:
        h, c = carry
        z = x @ w + h @ u + b
        i, f, o = (1.0 / (1.0 + xp.exp(-z[:, k * n : (k + 1) * n])) for k in range(3))
        c = f * c + i * xp.tanh(z[:, 3 * n :])
        return (o * xp.tanh(c), c), None

    return xp.sum(xp.scan(step, (h, 0.0 * h), xs)[0][0] ** 2)


def hmm(xp: Any, transitions: Any, start: Any, emissions: Any) -> Any:
    """The log likelihood of a hidden Markov model by the forward algorithm; all arguments are logarithms."""

    def logsumexp(x: Any) -> Any:
        top = xp.max(x, axis=0)
        return xp.log(xp.sum(xp.exp(x - top), axis=0)) + top

    return logsumexp(xp.scan(lambda a, e: (logsumexp(a[:, None] + transitions) + e, None), start + emissions[0], emissions[1:])[0])


def nbody(xp: Any, positions: Any, velocities: Any, masses: Any) -> Any:
    """Stars under softened gravity, 20 leapfrog steps: the sum of squares of where they end."""

    def acceleration(x: Any) -> Any:
        away = x[None, :, :] - x[:, None, :]
        squared = xp.sum(away * away, axis=2) + 0.01
        return xp.sum((masses / (squared * xp.sqrt(squared)))[:, :, None] * away, axis=1)

    def step(state: Any, _: Any) -> tuple[Any, None]:
        x, v = state
        x = x + 0.005 * v
        v = v + 0.01 * acceleration(x)
        return (x + 0.005 * v, v), None

    return xp.sum(xp.scan(step, (positions, velocities), None, length=20)[0][0] ** 2)


def programs() -> list[Program]:
    """The loops whose gradients are timed, all in float64."""
    rng = np.random.default_rng(0)
    state = np.array([1.0, 2.0, 20.0])
    n, batch, length = 64, 32, 100

    def network(gates: int) -> list[np.ndarray]:
        shapes = [(n, gates * n), (n, gates * n), (gates * n,), (length, batch, n), (batch, n)]
        return [rng.normal(size=shape) * (0.1 if position < 3 else 1.0) for position, shape in enumerate(shapes)]

    def recurrent_products(gates: int) -> dict[str, Contestant]:
        # those that do not wait for a step are one product for all steps
        wide, all_steps = gates * n, length * batch
        each_step = ((length, batch, n, wide), (length, batch, wide, n))
        return products(float, (1, all_steps, n, wide), *each_step, (2, n, all_steps, wide))

    model = [rng.normal(size=shape) - 3.0 for shape in ((32, 32), (32,), (200, 32))]
    stars = [rng.normal(size=(128, 3)), 0.1 * rng.normal(size=(128, 3)), rng.uniform(0.5, 1.5, size=128) / 128]
    lorenz_by_hand = {
        NUMBA: handwritten.in_numba(lambda numba: handwritten.lorenz(numba)[1], [state]),
        **by_hand("lorenz.lorenz_gradient", [1000], [state], 1),
    }
    stars_by_hand = {NUMBA: handwritten.in_numba(handwritten.nbody, stars), **by_hand("nbody.nbody", [128, 20], stars, 2)}
    return [
        Program("Lorenz RK4, 1000 steps, gradient", lorenz, [state], 1, "1.5x of C", lorenz_by_hand),
        Program("LSTM, 100 steps", lstm, network(4), 3, "1.5x of its products", recurrent_products(4)),
        Program("RNN, 100 steps", rnn, network(1), 3, "1.5x of its products", recurrent_products(1)),
        Program("HMM, 32 states, 200 steps", hmm, model, 3, "1.5x of C", by_hand("hmm.hmm", [200], model, 3)),
        Program("N-body, 128 stars, 20 steps", nbody, stars, 2, "1.5x of C", stars_by_hand),
    ]


def table() -> Table:
    """One value and the gradients."""
    state = np.array([1.0, 2.0, 20.0])
    ends = {
        **compiled(lambda xp: partial(lorenz_end, xp), [state]),
        NUMBA: handwritten.in_numba(lambda numba: handwritten.lorenz(numba)[0], [state]),
        **by_hand("lorenz.lorenz_value", [1000], [state], 1),
    }
    rows = [timed("Lorenz RK4, 1000 steps, value", ends, "1.5x of C"), *(program.row() for program in programs())]
    return Table("loops", "compiled gradients through loops", "us", rows)
