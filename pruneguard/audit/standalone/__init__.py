"""A verifier in one file, which every bundle carries: it imports nothing of this package."""
