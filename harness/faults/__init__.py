"""The kill matrix: every seeded fault of the bundled server against every clause, to show what the gate is worth.

A check that no fault can fail is not a check. Each fault is one bundled server that breaks one thing; the gate runs against it, and
must convict the fault's own clause and no other, but for those that break with it, for the reason that the fault gives. A sound server
comes first and must be clean. The rule: verdicts are read from the gate's own conformance.json, and the matrix is made of nothing else.

`known` lists the faults, `servers` and `passes` start servers and checks fast (forks of processes that have loaded everything),
`trial` runs the gate on one fault, `run` many of them at once, `matrix` judges, `document` and `page` tell.
"""

from harness.faults.known import Fault, Faults, known_faults
from harness.faults.matrix import Judged, Matrix, Row, Seen, judge

__all__ = ["Fault", "Faults", "Judged", "Matrix", "Row", "Seen", "judge", "known_faults"]
