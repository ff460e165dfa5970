"""Gates that compare candidate and twin on the same rows: as a whole, and slice by slice."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pruneguard.evidence import Measurement, PairedTable
from pruneguard.gates.gate import Answer, Gate, Parameter, no_evidence, points
from pruneguard.statistics import holm, rows_needed, tango_lower, tango_p_worse
from pruneguard.verdict import Outcome

_LISTED = 8  # slices that one finding names before it says "and n more"

_MARGIN = Parameter("margin", "the loss of accuracy, as a share, that is tolerated", above=0, below=1)
_ALPHA = Parameter("alpha", "the chance of a wrong answer at the margin", default=0.05, above=0, below=0.5)
_ROWS_MIN = Parameter("rows_min", "rows below which a slice is listed as not testable", default=30, above=0)


def non_inferior(name: str, parameters: Mapping[str, float], measured: Mapping[str, Measurement]) -> Answer:
    """Passes when the one-sided Tango bound of the difference lies above minus the margin.

    Failed when the difference itself is at or below minus the margin: at that difference no number of rows would
    pass. In between the rows cannot tell, and the finding says how many could.
    """
    margin, alpha = parameters["margin"], parameters["alpha"]
    required = f"difference above {points(-margin)} at {100 * (1 - alpha):.4g} % confidence"
    table = _table(name, measured)
    if isinstance(table, str):
        return no_evidence(table, required)
    observed = (
        f"{points(table.difference)}, at worst {points(tango_lower(table, alpha=alpha))} "
        f"(n {table.n}, {table.candidate_only} rows won, {table.twin_only} lost)"
    )

    def passes(table: PairedTable) -> bool:
        return tango_lower(table, alpha=alpha) > -margin

    if passes(table):
        return Answer(Outcome.PASSED, observed, required, _losses_until(table, lambda t: not passes(t)))
    if table.difference <= -margin:
        return Answer(Outcome.FAILED, observed, required, _repairs_until(table, passes))
    rows = rows_needed(discordance=table.discordance, margin=margin, alpha=alpha, difference=min(table.difference, 0.0))
    flip = f"need n >= {rows} rows at this difference and discordance"
    if passes(_lose(table, -table.twin_only)):
        flip += f", or {_repairs_until(table, passes)}"
    return Answer(Outcome.UNDERPOWERED, observed, required, flip)


def slices_non_inferior(name: str, parameters: Mapping[str, float], measured: Mapping[str, Measurement]) -> Answer:
    """Fails when at least one slice is shown to be worse than the margin, over all slices at once (Holm).

    `alpha` bounds the chance that any slice within the margin is called worse, up to the normal approximation of the
    score: ten slices that all lie exactly on the margin are called so 5.8 % of the time at 5 % (n 300, simulated).
    What a pass proves is "no slice is significantly worse than the margin", not that each one is as good: the
    finding says from how many lost rows the smallest slice would have failed, and which slices were too small.
    """
    margin, alpha, rows_min = parameters["margin"], parameters["alpha"], parameters["rows_min"]
    required = f"no slice shown to be below {points(-margin)} at {alpha:g} over all slices"
    prefix = f"{name}.slice."
    tables = {full.removeprefix(prefix): _table(full, measured) for full in sorted(measured) if full.startswith(prefix)}
    if broken := [table for table in tables.values() if isinstance(table, str)]:
        return no_evidence(broken[0], required)
    slices = [_Slice(label, table, margin) for label, table in tables.items() if isinstance(table, PairedTable)]
    tested = [s for s in slices if s.table.n >= rows_min]
    small = [f"{s.label} ({s.table.n})" for s in slices if s.table.n < rows_min]
    untested = f"; not testable: {_names(small)}" if small else ""
    if not tested:
        return no_evidence(f"no slice of {name} has {rows_min:g} rows{untested}", required)
    rejected = holm([s.p for s in tested], alpha=alpha)
    level = alpha / len(tested)  # Holm's first step: whether anything at all is rejected
    if worse := [s for s, hit in zip(tested, rejected, strict=True) if hit]:
        observed = f"{len(worse)} of {len(tested)} slices worse: {_names([str(s) for s in worse])}{untested}"
        return Answer(Outcome.FAILED, observed, required, _names([s.repairs(level) for s in worse if s.p <= level]))
    worst = min(tested, key=lambda s: s.p)
    smallest = min(tested, key=lambda s: s.table.n)
    observed = f"worst of {len(tested)} slices: {worst}; {smallest.sight(level)}{untested}"
    return Answer(Outcome.PASSED, observed, required, worst.losses(level))


@dataclass(frozen=True, slots=True)
class _Slice:
    label: str
    table: PairedTable
    margin: float

    def __str__(self) -> str:
        return f"{self.label} {points(self.table.difference)} (n {self.table.n}, p {self.p:.2g})"

    @property
    def p(self) -> float:
        return tango_p_worse(self.table, margin=self.margin)

    def repairs(self, level: float) -> str:
        return f"{self.label}: {_repairs_until(self.table, lambda t: not self._is_worse(t, level))}"

    def losses(self, level: float) -> str:
        return f"{self.label}: {_losses_until(self.table, lambda t: self._is_worse(t, level))}"

    def sight(self, level: float) -> str:
        """What the test could have seen in this slice: the fewest lost rows, with none won, that it calls worse."""
        clean = PairedTable(self.table.n, 0, 0, 0)
        lost = _fewest(clean.n, lambda k: self._is_worse(_lose(clean, k), level))
        would = "could not have failed" if lost is None else f"would fail from {lost} rows lost"
        return f"{self.label} (n {self.table.n}) {would}"

    def _is_worse(self, table: PairedTable, level: float) -> bool:
        return tango_p_worse(table, margin=self.margin) <= level


def _table(name: str, measured: Mapping[str, Measurement]) -> PairedTable | str:
    """The table to judge, or why there is none."""
    match measured.get(name):
        case None:
            return f"{name} was not measured"
        case PairedTable() as table:
            cells = (table.both_right, table.candidate_only, table.twin_only, table.both_wrong)
            if any(type(cell) is not int or cell < 0 for cell in cells):
                return f"{name} does not count rows: {cells}"
            return table if table.n else f"{name} has no rows"
        case _:
            return f"{name} is a number; this gate judges a paired table"


def _lose(table: PairedTable, rows: int) -> PairedTable:
    """The table had the candidate missed `rows` more that both get right; negative to repair rows it lost."""
    return PairedTable(table.both_right - rows, table.candidate_only, table.twin_only + rows, table.both_wrong)


def _losses_until(table: PairedTable, turns: Callable[[PairedTable], bool]) -> str:
    rows = _fewest(table.both_right, lambda k: turns(_lose(table, k)))
    return "no loss on these rows" if rows is None else f"{rows} more rows lost"


def _repairs_until(table: PairedTable, turns: Callable[[PairedTable], bool]) -> str:
    rows = _fewest(table.twin_only, lambda k: turns(_lose(table, -k)))
    return "no repair on these rows" if rows is None else f"{rows} of the {table.twin_only} lost rows repaired"


def _fewest(most: int, turns: Callable[[int], bool]) -> int | None:
    """The smallest count up to `most` for which `turns`, false at first and then true, is true."""
    if not turns(most):
        return None
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if turns(middle) else (middle + 1, high)
    return low


def _names(texts: list[str]) -> str:
    more = len(texts) - _LISTED
    return ", ".join(texts[:_LISTED]) + (f" and {more} more" if more > 0 else "")


PAIRED = (
    Gate(
        "non_inferior",
        "The candidate is as accurate as its twin up to the margin (Tango's score bound on the same rows).",
        PairedTable,
        (_MARGIN, _ALPHA),
        non_inferior,
    ),
    Gate(
        "slices_non_inferior",
        "No slice of the measurement is shown to be worse than the margin (Tango's score test, Holm over the slices).",
        PairedTable,
        (_MARGIN, _ALPHA, _ROWS_MIN),
        slices_non_inferior,
    ),
)
