"""The discovery message against Home Assistant itself, where an environment with it is named.

python3.12 -m venv ha && ha/bin/pip install homeassistant==2024.11.3 paho-mqtt==1.6.1 'josepy<2'
DRUPELET_HOME_ASSISTANT=ha/bin/python python -m pytest tests/integration/agent/test_home_assistant_schema.py
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from drupelet_agent.messaging.home_assistant.discovery import Discovery
from drupelet_shared.contract.topics import DeviceTopics

INTERPRETER = os.environ.get("DRUPELET_HOME_ASSISTANT")
SCRIPT = Path(__file__).parents[2] / "support/agent/validate_discovery.py"

pytestmark = pytest.mark.skipif(
    INTERPRETER is None, reason="DRUPELET_HOME_ASSISTANT names no interpreter with homeassistant (hundreds of MB)"
)


def described(*models: str) -> dict[str, Any]:
    discovery = Discovery(
        DeviceTopics("pi.7"), board="Raspberry Pi 4", interval_s=10, counts_labels=lambda model: model == "shapes"
    )
    discovery.describe(["gone"])
    document: dict[str, Any] = json.loads(discovery.describe(list(models)).payload)
    return document


def faults_of(document: dict[str, Any]) -> list[str]:
    assert INTERPRETER is not None
    done = subprocess.run(
        [INTERPRETER, str(SCRIPT)], input=json.dumps(document), capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    version, *faults = done.stdout.splitlines()
    assert version.startswith("Home Assistant 20")
    return [fault for fault in faults if fault]


def test_home_assistant_accepts_every_component_that_the_agent_describes() -> None:
    document = described("digits", "faces.v2", "shapes")
    assert "shapes_detections" in document["components"]
    assert faults_of(document) == []


def test_home_assistant_refuses_what_is_wrong() -> None:
    document = described("digits")
    document["components"]["temperature"]["unit_of_measurement"] = "ms"
    document["components"]["digits_problem"]["device_class"] = "mood"
    del document["origin"]["name"]
    refused = {fault.partition(":")[0] for fault in faults_of(document)}
    # The origin is part of each component too.
    assert {"device", "digits_problem"} <= refused
