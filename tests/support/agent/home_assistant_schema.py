"""Validates a discovery message by Home Assistant's own schemas; run by a Python that has the `homeassistant` wheel.

The message is read from standard input. Exit status 0 and the number of components if Home Assistant takes all of it.
"""

from __future__ import annotations

import importlib
import json
import sys

SCHEMAS = "homeassistant.components.mqtt.schemas"
PLATFORMS = "homeassistant.components.mqtt"


def main() -> int:
    """Validate the message, then each component with what all components share, as Home Assistant's discovery does."""
    schemas = importlib.import_module(SCHEMAS)
    document = json.load(sys.stdin)
    schemas.DEVICE_DISCOVERY_SCHEMA(document)
    shared = {name: document[name] for name in schemas.SHARED_OPTIONS if name in document}
    for component in document["components"].values():
        platform = importlib.import_module(f"{PLATFORMS}.{component['platform']}")
        own = {name: value for name, value in component.items() if name != "platform"}
        if own:
            platform.DISCOVERY_SCHEMA({**shared, **own, "device": document["device"], "origin": document["origin"]})
    sys.stdout.write(f"{len(document['components'])}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
