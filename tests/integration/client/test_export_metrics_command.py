"""`drupelet export-metrics` beside a real agent and broker, and the dashboard that is shipped for its series."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.agent.agents import running_agent
from support.agent.sites import Site
from support.broker.brokers import Broker
from support.source.tree import REPOSITORY

_PATIENCE_S = 60.0


def scrape(url: str) -> dict[str, list[dict[str, str]]]:
    text = urllib.request.urlopen(url, timeout=10).read().decode()
    return {
        family.name: [sample.labels for sample in family.samples] for family in text_string_to_metric_families(text)
    }


@pytest.mark.slow
def test_a_server_scrapes_the_telemetry_of_a_real_agent_and_the_dashboard_asks_for_nothing_else(
    site: Site, embedded: Broker
) -> None:
    config = site.configure(embedded)
    site.install(config)
    command = [sys.executable, "-m", "drupelet_host", "export-metrics", "--port", "0", "--broker", embedded.url]
    with running_agent(config), subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as exporter:
        try:
            assert exporter.stdout is not None
            url = exporter.stdout.readline().strip()
            deadline = time.monotonic() + _PATIENCE_S
            families = scrape(url)
            while {"device": site.topics.device} not in families.get("drupelet_device_memory_bytes", []):
                assert time.monotonic() < deadline, sorted(families)
                time.sleep(0.2)
                families = scrape(url)
        finally:
            exporter.kill()
    text = (REPOSITORY / "deploy/grafana/drupelet-fleet.json").read_text(encoding="utf-8")
    dashboard = json.loads(text)
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    asked = {name.removesuffix("_total") for one in expressions for name in re.findall(r"drupelet_\w+", one)}
    assert len(asked) >= 8
    assert asked <= set(families), asked - set(families)
