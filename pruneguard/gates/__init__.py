"""Gates: pure functions from evidence to findings. No I/O, no clock, no chance, no logging.

"No" is a value. A measurement that is missing, not a number, of the wrong kind, or about another model, twin or data
snapshot is no evidence, and no evidence is never a pass.
"""

from pruneguard.gates.gate import Gate, Parameter
from pruneguard.gates.judging import GATES, MEASUREMENTS, judge, missing, objections

__all__ = ["GATES", "MEASUREMENTS", "Gate", "Parameter", "judge", "missing", "objections"]
