"""The contract as data, and the loaders that hand it out as frozen types. Imports nothing of ours.

`load_contract` has the numbers, `load_clauses` and `load_readings` the promises and their ambiguities, `parse`,
`validate_server` and `validate_client` judge single messages.
"""

from schemas.clauses import (
    CatalogueError,
    Clause,
    Level,
    Reading,
    Section,
    Tier,
    load_clauses,
    load_hooks,
    load_readings,
    load_sections,
    load_tiers,
)
from schemas.contract import (
    Benchmarks,
    ClientRules,
    CloseCodes,
    Contract,
    ContractError,
    ErrorCodes,
    Limits,
    Messages,
    load_contract,
)
from schemas.messages import Problem, Side, is_timestamp, load_schema, validate_client, validate_server
from schemas.strict_json import NotJson, parse

__all__ = [
    "Benchmarks",
    "CatalogueError",
    "Clause",
    "ClientRules",
    "CloseCodes",
    "Contract",
    "ContractError",
    "ErrorCodes",
    "Level",
    "Limits",
    "Messages",
    "NotJson",
    "Problem",
    "Reading",
    "Section",
    "Side",
    "Tier",
    "is_timestamp",
    "load_clauses",
    "load_contract",
    "load_hooks",
    "load_readings",
    "load_schema",
    "load_sections",
    "load_tiers",
    "parse",
    "validate_client",
    "validate_server",
]
