"""Every fuzz target by its name."""

from __future__ import annotations

from fuzz.archives import ARCHIVE, PACKAGE
from fuzz.codec import CODEC
from fuzz.documents import MANIFEST, MESSAGE, SIGNATURE, STATEMENT, WORKER_PACKET
from fuzz.files import GOLDEN, IMAGE, KEY
from fuzz.mqtt_packets import MQTT_PACKETS
from fuzz.orders import CHUNKS, ORDERS
from fuzz.requests import REQUESTS
from fuzz.target import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        CODEC,
        ARCHIVE,
        PACKAGE,
        MANIFEST,
        SIGNATURE,
        STATEMENT,
        MESSAGE,
        WORKER_PACKET,
        MQTT_PACKETS,
        REQUESTS,
        ORDERS,
        CHUNKS,
        IMAGE,
        GOLDEN,
        KEY,
    )
}
