"""What a class of its own matters to: its recall as evidence, and a gate that no slice of a number may fall below."""
