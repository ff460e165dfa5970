"""A model file judged outside any run: files and a policy in, a verdict and its reports out. Nothing is recorded."""
