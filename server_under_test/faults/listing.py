"""All faults as JSON, for whoever runs a gate against each of them and shares no code with this server.

Patterns are resolved here: `follows` maps each clause that may break with a fault to the reason.
"""

from __future__ import annotations

import json
from typing import Any

from server_under_test.faults import UNFAULTABLE, load_faults

__all__ = ["listing"]


def listing() -> str:
    """One JSON object: `faults` in the order of the contract's sections, and `unfaultable`, the reasons by clause."""
    faults: list[dict[str, Any]] = [
        {
            "name": fault.name,
            "clause": fault.clause,
            "summary": fault.summary,
            "follows": {clause: fault.reason(clause) for clause in fault.also},
            "needs": list(fault.needs),
        }
        for fault in load_faults().values()
    ]
    return json.dumps({"faults": faults, "unfaultable": dict(UNFAULTABLE)}, indent=1)
