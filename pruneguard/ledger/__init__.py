"""What happened, in order, signed: the only state of the service.

Pure: `merkle`, `notes`, `dsse`, `events`, `state`, `fold`. I/O: `store`, `keys`, `ledger`.
"""
