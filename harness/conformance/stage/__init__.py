"""The fixture `stage`: what one check may use. Actors, sockets, votes and edits, two-sided windows, proofs of absence.

A stage is built in layers, one a file: the setting, its actors, their sockets, what they do to the target, what can be proven of
it. Helpers raise the outcomes of `outcome`: a hook that does not answer as the profile says, a handshake that should have opened
and did not, make the check Inconclusive, never Broken.
"""

from harness.conformance.stage.proofs import Fence, Message
from harness.conformance.stage.whole import Stage

__all__ = ["Fence", "Message", "Stage"]
