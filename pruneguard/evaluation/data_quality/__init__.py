"""Is this data fit to train on and to judge by? `require_usable` refuses what cannot be; `admit` measures the rest."""

from pruneguard.evaluation.data_quality.admission import Admission, admit
from pruneguard.evaluation.data_quality.papers import Papers, papers
from pruneguard.evaluation.usability import require_usable

__all__ = ["Admission", "Papers", "admit", "papers", "require_usable"]
