"""Whether a confidence can be believed, and whether rows of another kind are noticed."""
