"""Names of the messages between the conductor and the processes that carry load, in the order in which they are sent."""

from __future__ import annotations

__all__ = ["ACT", "EVIDENCE", "FINISH", "FLUSHED", "PLAN", "PROBLEM", "SAVED"]

PROBLEM = "roadmap:problem"
"""Worker to conductor: {worker, text, code}: it cannot take part."""

PLAN = "roadmap:plan"
"""Conductor to all: who casts what from when: {plan (its parts), epoch, order, exclusion}."""

ACT = "roadmap:act"
"""Conductor to all: the scenario's own act of that name is due: {name, data}."""

EVIDENCE = "roadmap:evidence"
"""Worker to conductor, once a second: {worker, records, status}."""

FINISH = "roadmap:finish"
"""Conductor to all: stop, and hand over what is left."""

FLUSHED = "roadmap:flushed"
"""Worker to conductor: that was all: {worker, totals}."""

SAVED = "roadmap:saved"
"""Conductor to all: everything is in the journal."""
