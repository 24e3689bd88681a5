"""How often the agent connects in twenty seconds while a client or the broker ends each of its connections.

`python -m benchmarks.agent.reconnects` prints one JSON object; `--seconds` is how long each case lasts.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from drupelet_shared.contract.topics import DeviceTopics
from fakes.scripted_broker import (
    CONNECT,
    LOOPBACK,
    PUBLISH,
    SUBSCRIBE,
    Peer,
    Script,
    disconnect,
    puback,
    publish,
    scripted_broker,
    suback,
    text,
)
from support.agent.agents import running_agent, write_config
from support.agent.asking import asker
from support.broker.brokers import Broker, mosquitto_broker

MOST = 6
_DEVICE = "bench"
_TOPICS = DeviceTopics(_DEVICE)
_REPLY = "clients/me"
_STEP_S = 0.5


def hostile_requests(folder: Path, *, seconds: float) -> int:
    """Send requests whose Response Topic has 251 levels; mosquitto disconnects clients that publish on such topics."""
    with ExitStack() as stack:
        broker = stack.enter_context(mosquitto_broker(folder))
        agent = stack.enter_context(running_agent(write_config(folder, broker, device=_DEVICE)))
        ask = stack.enter_context(asker(broker))
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            ask.send(_TOPICS.infer("digits"), b"{}", response_topic="a/" * 250 + "b")
            time.sleep(_STEP_S)
        return _connects(agent.log)


def two_agents(folder: Path, *, seconds: float) -> int:
    """Run two agents with one name, which take the session over from each other; the count is that of the busier."""
    folders = [folder / "one", folder / "other"]
    with ExitStack() as stack:
        broker = stack.enter_context(mosquitto_broker(folder))
        logs = []
        for own in folders:
            own.mkdir()
            logs.append(stack.enter_context(running_agent(write_config(own, broker, device=_DEVICE))).log)
        time.sleep(seconds)
        return max(map(_connects, logs))


def ends_on_reply(folder: Path, *, seconds: float) -> int:
    """Use a broker that ends the connection whenever the agent publishes a reply."""

    async def script(peer: Peer) -> None:
        await peer.accept(session_present=True)
        while True:
            received = await peer.receive()
            if received.kind == SUBSCRIBE:
                await peer.send(suback(received.packet_id, bytes([1] * len(received.filters))))
                properties = b"\x08" + text(_REPLY) + b"\x09\x00\x01x"
                await peer.send(publish(_TOPICS.infer("digits"), b"{}", packet_id=1, properties=properties))
            elif received.kind == PUBLISH and received.topic == _REPLY:
                return
            elif received.kind == PUBLISH and received.qos:
                await peer.send(puback(received.packet_id))

    return _scripted(folder, script, seconds=seconds)


def mqtt_311(folder: Path, *, seconds: float) -> int:
    """Use a broker that refuses as MQTT 3.1.1 does: return code 1, no properties."""

    async def script(peer: Peer) -> None:
        await peer.expect(CONNECT)
        await peer.send(b"\x20\x02\x00\x01")

    return _scripted(folder, script, seconds=seconds)


def disconnects(reason: int) -> Callable[..., int]:
    """Return the case of a broker that accepts each connection and ends it with a reason code at once."""

    def run(folder: Path, *, seconds: float) -> int:
        async def script(peer: Peer) -> None:
            await peer.accept()
            await peer.send(disconnect(reason))

        return _scripted(folder, script, seconds=seconds)

    return run


CASES: dict[str, Callable[..., int]] = {
    "requests with a Response Topic of 251 levels": hostile_requests,
    "a broker that ends the connection on each reply": ends_on_reply,
    "a broker of MQTT 3.1.1": mqtt_311,
    "two agents with one name": two_agents,
    "a broker that disconnects with 0x9B": disconnects(0x9B),
    "a broker that disconnects with 0x8E": disconnects(0x8E),
}


def _scripted(folder: Path, script: Script, *, seconds: float) -> int:
    with scripted_broker(script) as broker:
        address = Broker(host=LOOPBACK, port=broker.port, port_311=broker.port, kind="mosquitto")
        with running_agent(write_config(folder, address, device=_DEVICE)):
            while not broker.peers:
                time.sleep(0.01)
            time.sleep(seconds)
            return len(broker.peers)


def _connects(log: Path) -> int:
    return log.read_text(encoding="utf-8").count("connected to broker")


def main() -> int:
    """Print the counts, the first connection included; 1 if one is above six."""
    parser = argparse.ArgumentParser(prog="reconnects", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each case lasts")
    options = parser.parse_args()
    counts: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="reconnects-") as folder:
        for number, (name, case) in enumerate(CASES.items()):
            own = Path(folder) / str(number)
            own.mkdir()
            counts[name] = case(own, seconds=options.seconds)
    print(json.dumps(counts, indent=2))
    # The first connection is no reconnect.
    return 0 if all(count - 1 <= MOST for count in counts.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
