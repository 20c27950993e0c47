"""A second server of the contract, on another WebSocket library, with an HTTP API of its own, for proving profiles on.

It is written from the contract's text alone and shares nothing with the bundled server: no code, no HTTP library, no URL, no
cookie format. Of ours it imports the numbers of the contract and nothing else; `running` and `profile`, which start and describe
it, are the tests' side and no part of the process.
"""
