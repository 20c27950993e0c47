"""The whole stage, and its end."""

from __future__ import annotations

from harness.conformance.ground import Ground
from harness.conformance.stage.proofs import Proofs
from schemas import Clause

__all__ = ["Stage"]


class Stage(Proofs):
    """Belongs to one check. Whatever it opened, made or borrowed is given back when the check ends."""

    def __init__(self, ground: Ground, clause: Clause, check: str) -> None:
        super().__init__(ground, clause, check)
        self.closed = False

    def close(self) -> None:
        """Give everything back. Never raises; called when the check has ended."""
        self.closed = True
        self.hang_up()
        self.undo()
        self.dismiss()
