"""What the benchmark of the gates is made of: error rates, costs, and other people's libraries on the same rows."""
