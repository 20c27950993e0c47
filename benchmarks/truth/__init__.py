"""How truthful the instrument is: real scenarios against servers whose every mishap, delay, leak and neglect is known, and what the real
analysis made of the run. A part of it is one kind of truth; each part is run over TCP and TLS, in one load process and in two.
"""
