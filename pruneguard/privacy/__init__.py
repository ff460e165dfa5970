"""What may be forgotten in a ledger that forgets nothing: personal values, and what is past its period."""
