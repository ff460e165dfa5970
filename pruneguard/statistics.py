"""Error rates that are stated: the intervals and tests behind the gates.

Standard library only, so that whoever audits a verdict can decide it again without installing numpy. Every function
is deterministic. Tables count rows; bounds and margins are shares (0.01 is one point), `alpha` is one-sided unless
the docstring says otherwise.
"""

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

from pruneguard.errors import InvalidInputError
from pruneguard.evidence import PairedTable

_NORMAL = NormalDist()


# -- paired accuracy: is the candidate as good as its twin, up to a margin? ---------------------------------------


def tango_lower(table: PairedTable, *, alpha: float = 0.05) -> float:
    """One-sided lower confidence bound of the candidate's accuracy minus the twin's; -1 without rows.

    The score interval of Tango (1998), Statistics in Medicine 17, 891-908: it keeps its level at the small
    discordances of a pruned model, where Wald's interval does not. For a two-sided 95 % interval take `alpha=0.025`.

    >>> round(tango_lower(PairedTable(11, 1, 7, 2), alpha=0.025), 4)
    -0.5172
    """
    z = _critical(alpha)
    if table.n == 0:
        return -1.0
    # The score falls as the assumed difference grows; the bound is where it comes down to z.
    return _crossing(lambda difference: _tango_score(table, difference) > z, -1.0, table.difference)[0]


def tango_upper(table: PairedTable, *, alpha: float = 0.05) -> float:
    """One-sided upper confidence bound, the mirror image of `tango_lower`; 1 without rows."""
    return -tango_lower(_swapped(table), alpha=alpha)


def tango_p(table: PairedTable, *, margin: float) -> float:
    """One-sided p-value of "the candidate is worse by `margin` or more"; small means non-inferior. 1 without rows.

    Tango's score test, so that `tango_p(t, margin=m) < a` and `tango_lower(t, alpha=a) > -m` are one statement.
    """
    return _NORMAL.cdf(-_tango_score(table, -margin)) if table.n else 1.0


def tango_p_worse(table: PairedTable, *, margin: float) -> float:
    """One-sided p-value of "the candidate is worse by `margin` at most"; small means shown worse. 1 without rows."""
    return _NORMAL.cdf(_tango_score(table, -margin)) if table.n else 1.0


def rows_needed(
    *, discordance: float, margin: float, alpha: float = 0.05, power: float = 0.9, difference: float = 0.0
) -> int:
    """Rows for which the non-inferiority test passes with probability `power` when the true difference is `difference`.

    Normal approximation (Liu et al. 2002, Statistics in Medicine 21, 231-245): about 8.56 * discordance / margin^2 at
    the defaults. Where hardly anything is discordant the approximation asks for too little; then the rows count
    that Tango's bound needs with no discordance at all.

    Raises InvalidInputError when `margin + difference` is not above 0: no number of rows would show that.

    >>> rows_needed(discordance=0.05, margin=0.01)
    4282
    """
    distance = margin + min(difference, 0.0)
    if not distance > 0 or not 0 <= discordance <= 1:
        raise InvalidInputError(
            f"discordance {discordance}, margin {margin}, difference {difference}: no number of rows shows this; "
            "expected a share, and a margin wider than the loss"
        )
    z = _critical(alpha)
    normal = (z + _critical(1 - power)) ** 2 * discordance / distance**2
    quiet = z**2 * (1 - distance) / distance
    return max(math.ceil(normal), math.floor(quiet) + 1)


def _tango_score(table: PairedTable, difference: float) -> float:
    """Tango's statistic under the hypothesis that candidate minus twin is `difference`."""
    n, gain, loss = table.n, table.candidate_only, table.twin_only
    if min(table.both_right, gain, loss, table.both_wrong) < 0:
        raise InvalidInputError(f"{table} counts less than no rows; measure it again")
    # Maximum-likelihood probability that only the twin is right, given the difference (Tango 1998, formula 6).
    b = (2 * n - gain + loss) * difference - gain - loss
    c = -loss * difference * (1 - difference)
    twin_only = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
    variance = n * (2 * twin_only + difference * (1 - difference))
    distance = gain - loss - n * difference
    if variance <= 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)


def _swapped(table: PairedTable) -> PairedTable:
    return PairedTable(table.both_right, table.twin_only, table.candidate_only, table.both_wrong)


# -- a share, and a bounded mean ----------------------------------------------------------------------------------


def clopper_pearson(k: int, n: int, *, alpha: float) -> tuple[float, float]:
    """Two-sided exact interval of a share, `k` of `n`; it covers the truth with at least `1 - alpha`.

    Clopper & Pearson (1934), Biometrika 26, 404-413. Without rows it is (0, 1).

    >>> [round(end, 4) for end in clopper_pearson(0, 100, alpha=0.05)]
    [0.0, 0.0362]
    """
    return 1 - clopper_pearson_upper(n - k, n, alpha=alpha / 2), clopper_pearson_upper(k, n, alpha=alpha / 2)


def clopper_pearson_upper(k: int, n: int, *, alpha: float) -> float:
    """One-sided exact upper bound of a share, `k` of `n` (Clopper & Pearson 1934); 1 without rows."""
    if not 0 <= k <= n:
        raise InvalidInputError(f"{k} of {n} is not a share; expected 0 <= k <= n")
    _critical(alpha)
    if k == n:
        return 1.0
    # P(at most k of n) = 1 - I_p(k + 1, n - k) falls in p; the bound is where it comes down to alpha.
    return _crossing(lambda p: 1 - _incomplete_beta(k + 1, n - k, p) > alpha, 0.0, 1.0)[1]


def betting_upper(values: Sequence[float], *, alpha: float) -> float:
    """One-sided upper confidence bound of the mean of independent values in [0, 1]; 1 without values.

    The one-sided betting bound of Waudby-Smith & Ramdas (2024), JRSS B 86, 1-27, section 4, with bets tuned to
    `len(values)`. It holds at any sample size and for any shape, and is far narrower than Hoeffding's where the
    values are small. The order of the values must not depend on them: shuffle rows that are sorted by class.

    Raises InvalidInputError for a value outside [0, 1] or NaN.
    """
    _critical(alpha)
    if any(not 0 <= value <= 1 for value in values):
        raise InvalidInputError("a value outside [0, 1] or NaN; the bound holds for bounded means only")
    bets = _bets(values, alpha)
    # Thirty halvings leave 1e-9, rounded up: each of them walks through all values.
    return _crossing(lambda mean: not _wins(values, bets, mean, alpha), 0.0, 1.0, halvings=30)[1]


def _bets(values: Sequence[float], alpha: float) -> list[float]:
    """The plug-in bet before each value, from the values before it (Waudby-Smith & Ramdas 2024, formula 26)."""
    bets, total, squares = [], 0.5, 0.25
    for seen, value in enumerate(values, start=1):
        bets.append(math.sqrt(2 * math.log(1 / alpha) * seen / (len(values) * squares)))
        total += value
        squares += (value - total / (seen + 1)) ** 2
    return bets


def _wins(values: Sequence[float], bets: Sequence[float], mean: float, alpha: float) -> bool:
    """Whether betting on "the mean is below `mean`" ever multiplies its stake by 1 / alpha (Ville's inequality)."""
    if mean >= 1:
        return True
    cap, wealth, goal = 0.75 / (1 - mean), 1.0, 1 / alpha
    for value, bet in zip(values, bets, strict=True):
        wealth *= 1 + (bet if bet < cap else cap) * (mean - value)
        if wealth >= goal:
            return True
    return False


# -- many hypotheses at once --------------------------------------------------------------------------------------


def holm(p_values: Sequence[float], *, alpha: float) -> tuple[bool, ...]:
    """Which hypotheses are rejected, with at most `alpha` chance of any false rejection; NaN is never rejected.

    Holm (1979), Scandinavian Journal of Statistics 6, 65-70; holds under any dependence.

    >>> holm([0.01, 0.04, 0.03], alpha=0.05)
    (True, False, False)
    """
    _critical(alpha)
    known = [1.0 if math.isnan(p) else p for p in p_values]
    rejected = [False] * len(known)
    for done, index in enumerate(sorted(range(len(known)), key=known.__getitem__)):
        if known[index] > alpha / (len(known) - done):
            break
        rejected[index] = True
    return tuple(rejected)


# -- numerics -----------------------------------------------------------------------------------------------------


def _critical(alpha: float) -> float:
    if not 0 < alpha < 1:
        raise InvalidInputError(f"alpha {alpha} is not a probability of error; expected more than 0 and less than 1")
    return _NORMAL.inv_cdf(1 - alpha)


def _crossing(holds: Callable[[float], bool], low: float, high: float, *, halvings: int = 60) -> tuple[float, float]:
    """The ends between which `holds`, true at first, turns false; 60 halvings bring them to neighbouring doubles."""
    for _ in range(halvings):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low, high


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """I_x(a, b) by its continued fraction (Press et al., Numerical Recipes, 3rd edition, section 6.4)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # the fraction converges quickly on the other side only
        return 1 - _incomplete_beta(b, a, 1 - x)
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    tiny = 1e-300
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or tiny)
    fraction, term, m = d, 0.0, 1
    while abs(term - 1) > 1e-15 and m < 10_000:
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for step in (even, odd):
            d = 1 / (1 + step * d or tiny)
            c = 1 + step / c or tiny
            term = c * d
            fraction *= term
        m += 1
    return math.exp(scale) * fraction / a
