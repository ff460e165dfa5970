"""What an adversary gets: attacks on answers, back doors, what a model gives away, files that do more than answer."""
