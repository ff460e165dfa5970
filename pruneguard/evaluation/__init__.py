"""Data, candidate and twin in, evidence out. Nothing here judges, and nothing here changes a model."""
