"""Damage that is nobody's attack: does the candidate stand it as well as its twin?

Twelve families for each kind of rows: `images`, `tables` and `text`, every one at five severities. What a policy does
not name is measured on the release split only.
"""

from pruneguard.evaluation.corruptions.suite import (
    ROWS_MAX,
    ROWS_MIN,
    SEVERITIES,
    Suite,
    corrupt,
    families,
    lacks,
    spread,
)

__all__ = ["ROWS_MAX", "ROWS_MIN", "SEVERITIES", "Suite", "corrupt", "families", "lacks", "spread"]
