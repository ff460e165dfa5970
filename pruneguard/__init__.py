"""The domain of a pruned model: what it is, what was measured, what was decided, and who answers for it."""

__version__ = "0.1.0"
