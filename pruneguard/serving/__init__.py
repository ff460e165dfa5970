"""The gateway: answers with what the ledger says is live, and reports to an observer it is given."""
