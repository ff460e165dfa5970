"""What happened, in order, signed: the only state of the service.

Pure: `merkle`, `notes`, `tiles`, `dsse`, `events`, `state`, `rules`, `fold`. I/O: `store`, `keys`, `ledger`.
"""
