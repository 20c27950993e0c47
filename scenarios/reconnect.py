"""What a thousand clients do when their server goes, by cause, outage and client model; who is back when, and what the herd looks like.

    locust -f scenarios/reconnect.py --headless
    locust -f scenarios/reconnect.py --headless --target profile.toml --causes graceful --outages 3,10
    roadmap-harness bench reconnect

Without a target the study starts, kills and restarts the bundled server. Nobody votes: the clients only hold their sockets, lose them
and come back as the contract's sample class does it, as its formula done once, and with full jitter.
"""

from harness.load.reconnect.scenario import Client, install

install()


class RoadmapClient(Client):
    """One page that reconnects."""
