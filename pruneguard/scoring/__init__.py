"""Files of rows, scored by what the ledger lets answer: column by column, in parts that outlive a kill."""
