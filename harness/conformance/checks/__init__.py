"""The checks, one module a section of the contract, and unchecked.toml for the clauses that have none."""
