"""What the service costs, measured. One file is one benchmark; `make bench NAME=ledger` runs it."""
