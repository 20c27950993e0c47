"""The tool turned round: it plays the server, and a client under test is judged by how it behaves.

`ClientUnderTest` says which client and at which pace, `Play` runs one against a real server on loopback, and `scenes` are the
plays from which several clauses are read. A client takes part as a command with {url} in it, which starts it; on its standard
input it may understand the lines `subscribe ID ...` and `disconnect`. Without a command a person opens the address by hand.
"""

from harness.conformance.client_side.counterpart import OPEN, Attempt, Counterpart, Door, Line
from harness.conformance.client_side.play import Play
from harness.conformance.client_side.under_test import BY_HAND, ClientUnderTest

__all__ = ["BY_HAND", "OPEN", "Attempt", "ClientUnderTest", "Counterpart", "Door", "Line", "Play"]
