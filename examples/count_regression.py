"""A real fit: how often did 20,190 person-years of the RAND Health Insurance Experiment visit a doctor, and why?

The count y of a person-year with regressors x is modelled with mean mu = exp(x' beta), first as Poisson, then as negative binomial with
variance mu + alpha mu^2 ("NB2", Cameron & Trivedi 2005, chapter 20):

    log p(y) = lgamma(y + 1/alpha) - lgamma(1/alpha) - lgamma(y + 1) + y z - (y + 1/alpha) log(1 + exp z),    z = x' beta + log alpha

Only this likelihood is written down. SciPy's trust-region Newton method maximises it with gradients and Hessian-vector products that cotan
derives, and the standard errors are exact: the inverse of the observed information, which is cotan's Hessian at the maximum.

Everything is checked, row by row, and a failed row makes the exit code 1: derivatives against finite differences; estimates, standard
errors and likelihoods against the numbers that Stata and R printed for the same data and models (see `REFERENCES`). A plot is saved at
the end.

Run it with `python3 dev.py demo`, or alone with the project's Python.
"""

from __future__ import annotations

import csv
import gzip
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from scipy import optimize, stats

import cotan
import cotan.numpy as cnp
from cotan.special import gammaln

HERE = Path(__file__).resolve().parent
DATA = HERE / "data" / "randhie.csv.gz"
PLOT = HERE / "output" / "count_regression.png"

Vector = np.ndarray
Objective = Callable[[Vector], Vector]

# ---------------------------------------------------------------------------------------------------------------------- the references


@dataclass(frozen=True)
class Reference:
    """What another program printed for one parameter, and how many of its digits can be relied on."""

    estimate: float
    standard_error: float
    rounding: float = 1e-9


def interval(estimate: float, lower: float, upper: float) -> Reference:
    """A reference printed as an estimate with a 95 % interval of seven decimals, which is symmetric around it."""
    return Reference(estimate, (upper - lower) / (2 * HALF_WIDTH), rounding=0.5e-7 / HALF_WIDTH)


# The models with these ten regressors, as recorded in the test suite of statsmodels (BSD licence): class RandHIE of
# statsmodels/discrete/tests/results/results_discrete.py. Poisson: Stata 11. NB2: estimates from R 2.15.1 (MASS 7.3-22, glm.nb); intervals,
# alpha, likelihood from Stata (nbreg). R's own standard errors of NB2 are left aside: glm.nb holds alpha fixed for them and takes the
# expected information, where Stata and this program take the observed information of all eleven parameters.
# Table 20.5 of Cameron & Trivedi cannot serve: it has 17 regressors, and their sample differs slightly from the published file.
HALF_WIDTH = float(stats.norm.ppf(0.975))
REFERENCES: dict[str, dict[str, Reference]] = {
    "Poisson": {
        "lncoins": Reference(-0.052535114675, 0.00288398915279),
        "idp": Reference(-0.247086797633, 0.01061725196728),
        "lpi": Reference(0.035290201794, 0.00182833684966),
        "fmde": Reference(-0.03457750643, 0.00161284852954),
        "physlm": Reference(0.271713973711, 0.01223913844387),
        "disea": Reference(0.033941474461, 0.00056476496963),
        "hlthg": Reference(-0.012635035534, 0.00925061122826),
        "hlthf": Reference(0.054056326828, 0.01530987068312),
        "hlthp": Reference(0.206115121809, 0.02627928267502),
        "constant": Reference(0.700352877227, 0.01116266712362),
    },
    "NB2": {
        "lncoins": interval(-0.0579469537244314, -0.0698826, -0.0460113),
        "idp": interval(-0.267787718814838, -0.3122654, -0.2233101),
        "lpi": interval(0.0412060770911646, 0.0330781, 0.049334),
        "fmde": interval(-0.0381376804392121, -0.0448006, -0.0314748),
        "physlm": interval(0.268915772213171, 0.2102246, 0.3276069),
        "disea": interval(0.0381637446219235, 0.0352959, 0.0410316),
        "hlthg": interval(-0.0441338846217674, -0.0834356, -0.0048321),
        "hlthf": interval(0.0172521803400544, -0.0535908, 0.0880951),
        "hlthp": interval(0.177960787443151, 0.0324115, 0.3235101),
        "constant": interval(0.663556087183864, 0.6150055, 0.7121067),
        "log alpha": Reference(0.256929012449, 0.0143932, rounding=0.5e-7),
    },
}
LOG_LIKELIHOODS = {"Poisson": -62419.588535018, "NB2": -43383.66207653563}

# R and Stata stopped within 6e-9 of the maximum. Stata's Poisson likelihood differs by 3e-5, which is 5e-10 of its size, from the value at
# the maximum that this program and statsmodels both compute.
ESTIMATE_TOLERANCE, LIKELIHOOD_TOLERANCE = 2e-8, 1e-4
# Central differences of a function of size 1: about the cube root of the rounding error, squared, and the function's third derivative.
DIFFERENCE_TOLERANCE = 1e-7

# --------------------------------------------------------------------------------------------------------------- the data and the models


def read_data() -> tuple[Vector, np.ndarray, list[str]]:
    """The counts, float64[20190], the regressors with a last column of ones, float64[20190, 10], and the regressors' names."""
    with gzip.open(DATA, "rt", newline="") as lines:
        header, *rows = csv.reader(lines)
    table = np.array(rows, dtype=np.float64)
    return table[:, 0], np.column_stack([table[:, 1:], np.ones(len(table))]), [*header[1:], "constant"]


def poisson(visits: Vector, regressors: np.ndarray) -> Objective:
    """Minus the mean log-likelihood of a Poisson regression as a function of beta."""

    def loss(beta: Vector) -> Vector:
        eta = regressors @ beta
        return -cnp.mean(visits * eta - cnp.exp(eta) - gammaln(visits + 1.0))

    return loss


def negative_binomial(visits: Vector, regressors: np.ndarray) -> Objective:
    """Minus the mean log-likelihood of an NB2 regression as a function of (beta, log alpha)."""

    def loss(parameters: Vector) -> Vector:
        beta, log_alpha = parameters[:-1], parameters[-1]
        size = cnp.exp(-log_alpha)
        z = regressors @ beta + log_alpha
        combinations = gammaln(visits + size) - gammaln(size) - gammaln(visits + 1.0)
        return -cnp.mean(combinations + visits * z - (visits + size) * cnp.logaddexp(0.0, z))

    return loss


# ----------------------------------------------------------------------------------------------------------------------------- the fit


@dataclass
class Fit:
    """A maximum of the likelihood with its exact standard errors."""

    name: str
    parameters: Vector
    standard_errors: Vector
    log_likelihood: float


@dataclass
class Progress:
    """One line that tells how the iterations go: rewritten in place on a terminal, a line per iteration elsewhere."""

    name: str
    observations: int
    started: float = field(default_factory=time.perf_counter)
    iterations: int = 0

    def __call__(self, intermediate_result: optimize.OptimizeResult) -> None:
        """Called by SciPy after each iteration; it passes the result by this argument's name."""
        self.iterations += 1
        log_likelihood = -self.observations * intermediate_result.fun
        self.show(f"iteration {self.iterations:2d}, log-likelihood {log_likelihood:.6f}")

    def show(self, text: str, last: bool = False) -> None:
        """Show the line, and leave it standing where it is the last one."""
        line = f"  {self.name}: {text}, {time.perf_counter() - self.started:.1f} s"
        if sys.stdout.isatty():
            print(f"\r{line:<90}", end="\n" if last else "", flush=True)
        else:
            print(line, flush=True)


def fit(name: str, loss: Objective, start: Vector, observations: int) -> Fit:
    """Minimise the loss by Newton's method in trust regions, then invert the observed information."""
    progress = Progress(name, observations)
    result = optimize.minimize(
        cotan.jit(cotan.value_and_grad(loss)),
        start,
        jac=True,
        hessp=cotan.jit(lambda parameters, direction: cotan.hvp(loss, parameters, direction)),
        method="trust-ncg",
        callback=progress,
        options={"gtol": 1e-10},
    )
    information = observations * np.asarray(cotan.jit(cotan.hessian(loss))(result.x))
    steepest = np.abs(result.jac).max()
    progress.show(f"{result.nit} iterations, {result.nhev} Hessian products, largest slope {steepest:.0e}", last=True)
    return Fit(name, result.x, np.sqrt(np.diag(np.linalg.inv(information))), -observations * float(result.fun))


# -------------------------------------------------------------------------------------------------------------------------- the checks


@dataclass
class Report:
    """Comparisons, printed row by row with their verdicts."""

    failures: int = 0

    def row(self, label: str, pairs: list[tuple[float, float, float]]) -> None:
        """Print pairs (found, wanted, allowed difference) and remember whether all of them held."""
        passed = all(abs(found - wanted) <= allowed for found, wanted, allowed in pairs)
        self.failures += not passed
        cells = "".join(f"{found:>19.9f}{wanted:>19.9f}" for found, wanted, _ in pairs)
        worst = max(abs(found - wanted) for found, wanted, _ in pairs)
        print(f"  {label:<18}{cells}{worst:>12.1e}   {'PASS' if passed else 'FAIL'}")

    def header(self, title: str, *columns: str) -> None:
        """Print a table's title and the names of its columns."""
        print(f"\n{title}\n  {'':<18}{''.join(f'{column:>19}' for column in columns)}{'difference':>12}")


def check_derivatives(report: Report, name: str, loss: Objective, parameters: Vector) -> None:
    """Compare gradient, Hessian-vector product and Hessian with central differences in a random direction, away from the maximum."""
    direction = np.random.default_rng(3).standard_normal(parameters.size)
    direction /= np.linalg.norm(direction)
    step = 6e-6  # about the cube root of the rounding error: it balances truncation and rounding
    ahead, behind = parameters + step * direction, parameters - step * direction
    slope = (float(loss(ahead)) - float(loss(behind))) / (2 * step)
    bend = (np.asarray(cotan.grad(loss)(ahead)) - np.asarray(cotan.grad(loss)(behind))) / (2 * step)
    gradient = np.asarray(cotan.grad(loss)(parameters))
    product = np.asarray(cotan.hvp(loss, parameters, direction))
    hessian = np.asarray(cotan.hessian(loss)(parameters))
    allowed = DIFFERENCE_TOLERANCE * max(1.0, np.abs(bend).max())
    report.row(f"{name} gradient", [(float(gradient @ direction), slope, allowed)])
    for index in np.abs(bend).argsort()[:-4:-1]:
        report.row(f"{name} hvp[{index}]", [(product[index], bend[index], allowed)])
    report.row(f"{name} H v - hvp", [(np.abs(hessian @ direction - product).max(), 0.0, 1e-12)])


def check_fit(report: Report, result: Fit) -> None:
    """Compare a fit with what Stata and R printed."""
    report.header(f"{result.name}: coefficients and exact standard errors", "estimate", "Stata, R", "standard error", "Stata")
    rows = zip(REFERENCES[result.name].items(), result.parameters, result.standard_errors, strict=True)
    for (name, reference), estimate, error in rows:
        allowed = reference.rounding + ESTIMATE_TOLERANCE
        report.row(name, [(estimate, reference.estimate, ESTIMATE_TOLERANCE), (error, reference.standard_error, allowed)])
    report.row("log-likelihood", [(result.log_likelihood, LOG_LIKELIHOODS[result.name], LIKELIHOOD_TOLERANCE)])


# ----------------------------------------------------------------------------------------------------------------------------- the plot


def predicted_shares(result: Fit, regressors: np.ndarray, counts: Vector) -> Vector:
    """The share of person-years that a fitted model expects at each count."""
    if result.name == "Poisson":
        means = np.exp(regressors @ result.parameters)
        return np.array([stats.poisson.pmf(count, means).mean() for count in counts])
    means, size = np.exp(regressors @ result.parameters[:-1]), np.exp(-result.parameters[-1])
    return np.array([stats.nbinom.pmf(count, size, size / (size + means)).mean() for count in counts])


def plot(fits: list[Fit], visits: Vector, regressors: np.ndarray, names: list[str]) -> None:
    """Save what the models say: the counts that they expect beside those observed, and the coefficients with their intervals."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    counts = np.arange(16)
    left.bar(counts, [(visits == count).mean() for count in counts], color="0.8", label="observed")
    rows = np.arange(len(names))
    for offset, (result, colour) in enumerate(zip(fits, ("tab:orange", "tab:blue"), strict=True)):
        left.plot(counts, predicted_shares(result, regressors, counts), "o-", color=colour, markersize=4, label=result.name)
        estimates, errors = result.parameters[: len(names)], result.standard_errors[: len(names)]
        style = {"fmt": "o", "color": colour, "markersize": 4, "capsize": 3, "label": result.name}
        right.errorbar(estimates, rows + 0.25 * offset, xerr=HALF_WIDTH * errors, **style)
    left.set(xlabel="visits to a doctor in a year", ylabel="share of person-years", title="Observed and expected counts")
    right.set(yticks=rows + 0.125, yticklabels=names, xlabel="effect on log(mean visits), 95 % interval", title="Coefficients")
    right.axvline(0.0, color="0.5", linewidth=0.8)
    right.invert_yaxis()
    left.legend()
    right.legend()
    PLOT.parent.mkdir(exist_ok=True)
    figure.savefig(PLOT, dpi=120)


def main() -> int:
    """Check, fit, compare, plot; the exit code tells whether every row passed."""
    visits, regressors, names = read_data()
    observations = len(visits)
    print(f"\nRAND Health Insurance Experiment: {observations} person-years, {int(visits.sum())} visits to a doctor")
    report = Report()
    losses = {"Poisson": poisson(visits, regressors), "NB2": negative_binomial(visits, regressors)}

    report.header("Derivatives away from the maximum, in a random direction v", "cotan", "finite difference")
    away = np.linspace(-0.02, 0.02, regressors.shape[1])
    check_derivatives(report, "Poisson", losses["Poisson"], away)
    check_derivatives(report, "NB2", losses["NB2"], np.append(away, 0.3))

    print("\nMaximum likelihood: scipy.optimize.minimize(method='trust-ncg') with cotan's gradients and Hessian products")
    constant_only = np.append(np.zeros(regressors.shape[1] - 1), np.log(visits.mean()))
    first = fit("Poisson", losses["Poisson"], constant_only, observations)
    second = fit("NB2", losses["NB2"], np.append(first.parameters, 0.0), observations)
    for result in (first, second):
        check_fit(report, result)

    plot([first, second], visits, regressors, names)
    print(f"\nplot saved to {PLOT.relative_to(HERE.parent)}")
    print(f"{report.failures} rows FAILED" if report.failures else "every row PASSED")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
