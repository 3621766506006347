"""Gradients of whole programs: those of ADBench (Srajer, Kukelova, Fitzgibbon 2018), and some of GradBench beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import handwritten
from benchmarks.harness import C, Table, timed
from benchmarks.loops import Program, by_hand, compiled


def logsumexp(xp: Any, x: Any) -> Any:
    """The logarithm of the sum of exponentials along the last axis."""
    top = xp.max(x, axis=-1)
    return xp.log(xp.sum(xp.exp(x - top[..., None]), axis=-1)) + top


def gmm(xp: Any, weights: Any, means: Any, log_diagonals: Any, lower: Any, places: Any, points: Any) -> Any:
    """A Gaussian mixture with a Wishart prior: its log likelihood, up to a constant.

    Component k has the inverse covariance Q^T Q. ``log_diagonals`` holds the logarithms of the diagonals of all Q; ``lower`` holds what is
    under the diagonals, which the matrix of zeros and ones ``places`` puts there.
    """
    k, d = means.shape
    diagonals = xp.exp(log_diagonals)
    centred = points[:, None, :] - means[None, :, :]
    turned = diagonals * centred + xp.einsum("kij,nkj->nki", xp.reshape(lower @ places, (k, d, d)), centred)
    terms = weights + xp.sum(log_diagonals, axis=1) - 0.5 * xp.sum(turned**2, axis=2)
    prior = 0.5 * (xp.sum(diagonals**2) + xp.sum(lower**2)) - xp.sum(log_diagonals)
    return xp.sum(logsumexp(xp, terms)) - points.shape[0] * logsumexp(xp, weights) - prior


def rotated(xp: Any, vectors: Any, points: Any) -> Any:
    """Points, each turned by the rotation vector of the same row (Rodrigues' formula)."""
    angle = xp.sqrt(xp.sum(vectors**2, axis=1))[:, None]
    axis = vectors / angle
    normal = xp.stack([axis[:, i] * points[:, j] - axis[:, j] * points[:, i] for i, j in ((1, 2), (2, 0), (0, 1))], axis=1)
    along = xp.sum(axis * points, axis=1)[:, None]
    return points * xp.cos(angle) + normal * xp.sin(angle) + axis * along * (1.0 - xp.cos(angle))


def bundle_adjustment(xp: Any, cameras: Any, points: Any, which_camera: Any, which_point: Any, seen: Any) -> Any:
    """The squared errors of reprojection; a camera is rotation, centre, focal length, principal point and two radial distortions."""
    c = cameras[which_camera]
    local = rotated(xp, c[:, :3], points[which_point] - c[:, 3:6])
    flat = local[:, :2] / local[:, 2:]
    squared = xp.sum(flat**2, axis=1)[:, None]
    distorted = flat * (1.0 + c[:, 9:10] * squared + c[:, 10:11] * squared**2)
    return xp.sum((c[:, 6:7] * distorted + c[:, 7:9] - seen) ** 2)


def rotation(xp: Any, angles: Any) -> Any:
    """Rotation matrices of rows of three Euler angles."""
    (cx, cy, cz), (sx, sy, sz) = ([f(angles[:, k]) for k in range(3)] for f in (xp.cos, xp.sin))
    rows = (
        (cy * cz, sx * sy * cz - cx * sz, cx * sy * cz + sx * sz),
        (cy * sz, sx * sy * sz + cx * cz, cx * sy * sz - sx * cz),
        (-sy, sx * cy, cx * cy),
    )
    return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)


def hand(xp: Any, angles: Any, bones: Any, skin: Any, seen: Any) -> Any:
    """Squared distances of a hand's skin from where it is seen.

    The hand is five chains of four bones (5, 4, 3), each turned against the one before by its angles (5, 4, 3); the points of the skin
    (5, 4, n, 3) are fixed to a bone.
    """
    error, turn, place = 0.0, rotation(xp, angles[:, 0]), bones[:, 0]
    for j in range(bones.shape[1]):
        if j:
            place = place + xp.squeeze(turn @ bones[:, j, :, None], axis=-1)
            turn = turn @ rotation(xp, angles[:, j])
        error = error + xp.sum((skin[:, j] @ xp.swapaxes(turn, 1, 2) + place[:, None, :] - seen[:, j]) ** 2)
    return error


def recurrent(xp: Any, gates: Any, ends: Any, state: Any, text: Any) -> Any:
    """ADBench's recurrent network, whose weights are diagonal: the loss of predicting each row of a text from those before.

    ``gates`` (layers, 2, 4, n) are weights and biases, ``ends`` (3, n) scale the input and turn the last layer into a prediction.
    """

    def sigmoid(x: Any) -> Any:
        return 1.0 / (1.0 + xp.exp(-x))

    def step(carry: Any, pair: Any) -> tuple[Any, None]:
        layers, total = carry
        x, after = pair[0] * ends[0], []
        for k, (h, c) in enumerate(layers):
            w, b = gates[k, 0], gates[k, 1]
            c = c * sigmoid(x * w[0] + b[0]) + sigmoid(h * w[1] + b[1]) * xp.tanh(h * w[3] + b[3])
            x = sigmoid(x * w[2] + b[2]) * xp.tanh(c)
            after.append((x, c))
        prediction = x * ends[1] + ends[2]
        return (after, total + xp.sum(pair[1] * (prediction - xp.log(xp.sum(xp.exp(prediction)) + 2.0)))), None

    start = [(state[k, 0], state[k, 1]) for k in range(state.shape[0])]
    pairs = xp.stack([text[:-1], text[1:]], axis=1)
    return -xp.scan(step, (start, xp.sum(0.0 * ends)), pairs)[0][1] / (pairs.shape[0] * text.shape[1])


def kmeans(xp: Any, centres: Any, points: Any) -> Any:
    """The squared distances of points from the nearest centres."""
    return xp.sum(xp.min(xp.sum((points[:, None, :] - centres[None, :, :]) ** 2, axis=2), axis=1))


def newton_step(xp: Any) -> Callable[[Any, Any], Any]:
    """Newton's step of k-means, whose Hessian is diagonal, so that one product with ones gives it all."""

    def step(centres: Any, points: Any) -> Any:
        gradient = xp.transforms.grad(lambda c: kmeans(xp, c, points))
        slope, curvature = xp.transforms.jvp(gradient, (centres,), (xp.ones_like(centres),))
        return centres - slope / curvature

    return step


def least_squares(xp: Any, coefficients: Any, places: Any, exponents: Any, values: Any) -> Any:
    """The squared errors of a polynomial."""
    return 0.5 * xp.sum((values - places[:, None] ** exponents @ coefficients) ** 2)


def determinant(_: Any, matrix: Any) -> Any:
    """The determinant of a small matrix, number by number, by expansion along the rows."""

    def minor(row: int, columns: tuple[int, ...]) -> Any:
        if row == matrix.shape[0] - 1:
            return matrix[row, columns[0]]
        terms = [matrix[row, c] * minor(row + 1, columns[:k] + columns[k + 1 :]) for k, c in enumerate(columns)]
        return sum(terms[::2]) - sum(terms[1::2])

    return minor(0, tuple(range(matrix.shape[0])))


def mixture(rng: np.random.Generator, d: int, k: int, n: int) -> list[np.ndarray]:
    """Arguments of `gmm`."""
    rows, columns = np.tril_indices(d, -1)
    places = np.zeros((len(rows), d * d))
    places[np.arange(len(rows)), rows * d + columns] = 1.0
    return [*(rng.normal(size=shape) for shape in ((k,), (k, d), (k, d), (k, len(rows)))), places, rng.normal(size=(n, d))]


def scene(rng: np.random.Generator, cameras: int, points: int, sightings: int) -> list[np.ndarray]:
    """Arguments of `bundle_adjustment`: cameras near the origin with focal lengths near 1, points in front of them."""
    camera = 0.1 * rng.normal(size=(cameras, 11)) + np.eye(11)[6]
    which = [rng.integers(number, size=sightings) for number in (cameras, points)]
    return [camera, rng.normal(size=(points, 3)) + [0.0, 0.0, 10.0], *which, rng.normal(size=(sightings, 2))]


def programs() -> list[Program]:
    """The programs whose gradients are timed, all in float64."""
    rng = np.random.default_rng(0)

    def normal(*shapes: tuple[int, ...]) -> list[np.ndarray]:
        return [rng.normal(size=shape) for shape in shapes]

    def of_mixture(d: int, k: int, n: int) -> Program:
        given = mixture(rng, d, k, n)
        in_c = by_hand("gmm.gmm", [d, k, n], [*given[:4], given[5]], 4)  # without `places`, which only programs of arrays need
        return Program(f"GMM, {d} dimensions, {k} parts, {n:,} points", gmm, given, 4, "1.5x of C", in_c)

    mixtures = [of_mixture(10, 25, 1_000), of_mixture(20, 50, 10_000)]
    places = np.linspace(-1.0, 1.0, 1024)
    polynomial = [rng.normal(size=128), places, np.arange(128.0), np.sign(places)]
    sightings = scene(rng, 49, 7_776, 31_843)
    bones = normal((5, 4, 3), (5, 4, 3), (5, 4, 25, 3), (5, 4, 25, 3))
    text = [*normal((2, 2, 4, 14), (3, 14), (2, 2, 14)), np.eye(14)[rng.integers(14, size=1024)]]
    numbers, matrix = normal((1_280_000,)), normal((6, 6))
    rows: list[tuple[str, Callable[..., Any], list[np.ndarray], int, str, list[int]]] = [
        ("bundle adjustment, 31,843 sightings", bundle_adjustment, sightings, 2, "bundle.bundle", [49, 7_776, 31_843]),
        ("hand, 500 points", hand, bones, 2, "hand.hand", [5, 4, 25]),
        ("LSTM of 2 layers, 1,024 signs", recurrent, text, 2, "lstm.lstm", [1024]),
        ("logsumexp of 1,280,000", logsumexp, numbers, 1, "elementwise.logsumexp", [1_280_000]),
        ("least squares, 128 powers at 1,024 places", least_squares, polynomial, 1, "small.least_squares", [128, 1024]),
        ("determinant by minors, 6 x 6", determinant, matrix, 1, "small.determinant", [6]),
    ]
    others = [
        Program(label, f, given, active, "1.5x of C", by_hand(place, sizes, given, active))
        for label, f, given, active, place, sizes in rows
    ]
    return mixtures + others


def table() -> Table:
    """The gradients, and one step of Newton's."""
    rng = np.random.default_rng(0)
    clusters = [rng.normal(size=shape) for shape in ((25, 10), (20_000, 10))]
    in_c = {C: handwritten.in_c("kmeans.kmeans", [25, 10, 20_000], clusters, clusters[:1])}
    step = timed("k-means, 20,000 points, Newton's step", {**compiled(newton_step, clusters), **in_c}, "1.5x of C")
    return Table("adbench", "compiled gradients of programs", "us", [*(program.row() for program in programs()), step])
