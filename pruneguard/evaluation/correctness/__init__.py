"""Right and wrong answers: how many, where they changed, in which slices, and what of it is overfitting."""
