"""A release that breaks its contract while it serves goes by itself; two versions can be served side by side."""

from __future__ import annotations

import json
import time
from typing import Any

from support.agent.agents import Listener, run_agent_command, running_agent
from support.agent.asking import Asker, asker
from support.agent.sites import Site
from support.broker.brokers import Broker
from support.package.served_packages import greedy_model, make_package

# An image this bright is twenty times the work of the golden one, and one this bright more than there is memory for.
SLOW, TOO_MUCH = 20.0, 10_000.0
QUICK_JUDGEMENT = """
retune.look_s = 0.3
retune.enabled = false
contract.window_s = 0.5
contract.min_requests = 20
limits.memory = "600MB"
"""


def request(*, brightness: float = 0.5) -> bytes:
    tensor = {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [brightness] * 64}
    return json.dumps({"inputs": [tensor]}).encode()


def ask_until_rolled_back(ask: Asker, site: Site, heard: Listener, payload: bytes) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        ask.ask(site.topics.infer("digits"), payload)
        record = json.loads((site.folder / "state/models/digits.json").read_text("utf-8"))
        if record["active"]["release"] == 1:
            return heard.wait_for(site.topics.model_state("digits"), release=1, health="ready")
    raise AssertionError("release 2 was never rolled back")


def test_a_release_that_turns_slow_is_rolled_back_and_says_so(site: Site, broker: Broker) -> None:
    config = site.configure(broker, extra=f"{QUICK_JUDGEMENT}\ncontract.factor = 4")
    site.install(config, release=1)
    site.install(config, release=2, model=greedy_model())
    with site.listener(broker) as heard, running_agent(config) as agent, asker(broker) as ask:
        heard.wait_for(site.topics.model_state("digits"), release=2, health="ready")
        for _ in range(60):
            assert ask.ask(site.topics.infer("digits"), request()).json["model_version"] == "2.0.0"
        state = ask_until_rolled_back(ask, site, heard, request(brightness=SLOW))
        assert state["error"].startswith("rolled back from release 2, which broke its contract: ")
        assert "inferences in" in state["error"]
        assert state["changes"][-1]["what"] == "rolled_back_by_itself"
        assert ask.ask(site.topics.infer("digits"), request()).json["model_version"] == "1.0.0"
        assert "rolled back from release 2, which broke its contract" in agent.log.read_text("utf-8")
    # A restart does not forget why it runs what it runs.
    with site.listener(broker) as heard, running_agent(config):
        state = heard.wait_for(site.topics.model_state("digits"), release=1, health="ready")
        assert state["error"].startswith("rolled back from release 2, which broke its contract: ")


def test_a_release_that_fails_on_most_requests_is_rolled_back(site: Site, broker: Broker) -> None:
    config = site.configure(broker, extra=QUICK_JUDGEMENT)
    site.install(config, release=1)
    site.install(config, release=2, model=greedy_model())
    with site.listener(broker) as heard, running_agent(config), asker(broker) as ask:
        heard.wait_for(site.topics.model_state("digits"), release=2, health="ready")
        state = ask_until_rolled_back(ask, site, heard, request(brightness=TOO_MUCH))
    assert "requests in" in state["error"]
    assert state["error"].endswith("failed: the limit is 50%")


def test_what_clients_send_wrong_is_no_fault_of_the_release(site: Site, embedded: Broker) -> None:
    config = site.configure(embedded, extra=QUICK_JUDGEMENT)
    site.install(config, release=1)
    site.install(config, release=2)
    with site.listener(embedded) as heard, running_agent(config), asker(embedded) as ask:
        heard.wait_for(site.topics.model_state("digits"), release=2, health="ready")
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            assert ask.ask(site.topics.infer("digits"), b"hello").json["code"] == "invalid_request"
        assert ask.ask(site.topics.infer("digits"), request()).json["model_version"] == "2.0.0"


def test_a_broken_contract_with_nothing_to_go_back_to_is_told_until_it_is_kept_again(
    site: Site, embedded: Broker
) -> None:
    config = site.configure(embedded, extra=f"{QUICK_JUDGEMENT}\ncontract.factor = 4")
    site.install(config, model=greedy_model())
    topic = site.topics.model_state("digits")
    with site.listener(embedded) as heard, running_agent(config), asker(embedded) as ask:
        heard.wait_for(topic, health="ready")
        _ask_until(ask, site, heard, request(brightness=SLOW), broken=True)
        assert "there is no earlier release to go back to" in heard.wait_for(topic)["error"]
        _ask_until(ask, site, heard, request(brightness=0.01), broken=False)


def _ask_until(ask: Asker, site: Site, heard: Listener, payload: bytes, *, broken: bool) -> None:
    topic = site.topics.model_state("digits")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for _ in range(20):
            assert ask.ask(site.topics.infer("digits"), payload).user_properties["code"] == "ok"
        while not heard.messages.empty():
            message = heard.messages.get()
            heard.latest[message.topic] = message.payload
        if ("error" in json.loads(heard.latest[topic])) == broken:
            return
    raise AssertionError(f"the state never said broken={broken}")


class TestVersions:
    def test_the_release_before_answers_by_its_version_where_the_configuration_says_so(
        self, site: Site, broker: Broker
    ) -> None:
        config = site.configure(broker, extra="limits.versions = 2")
        site.install(config, release=1)
        versions = {None: site.topics.infer("digits")}
        versions |= {name: site.topics.infer("digits", name) for name in ("1.0.0", "2.0.0", "3.0.0")}

        def answers(ask: Asker) -> dict[str | None, str]:
            found = {name: ask.ask(topic, request()).json for name, topic in versions.items()}
            return {name: reply.get("model_version") or reply["code"] for name, reply in found.items()}

        state = site.topics.model_state("digits")
        with site.listener(broker) as heard, running_agent(config), asker(broker) as ask:
            heard.wait_for(state, release=1, health="ready")
            site.install(config, release=2)
            heard.wait_for(state, release=2, health="ready", earlier_versions=["1.0.0"])
            expected = {None: "2.0.0", "1.0.0": "1.0.0", "2.0.0": "2.0.0", "3.0.0": "unknown_model"}
            assert answers(ask) == expected
            site.install(config, release=3)
            heard.wait_for(state, release=3, health="ready", earlier_versions=["2.0.0"])
            assert answers(ask) == {None: "3.0.0", "1.0.0": "unknown_model", "2.0.0": "2.0.0", "3.0.0": "3.0.0"}
            # The one before is there already, so going back takes nobody's time; the newer one is not served beside it.
            run_agent_command(config, "rollback", "digits")
            heard.wait_for(state, release=2, health="ready")
            assert answers(ask) == {**expected, "1.0.0": "unknown_model"}

    def test_both_are_served_again_after_a_restart(self, site: Site, embedded: Broker) -> None:
        config = site.configure(embedded, extra="limits.versions = 2")
        for release in (1, 2):
            site.install(config, release=release)
        with site.listener(embedded) as heard, running_agent(config), asker(embedded) as ask:
            heard.wait_for(site.topics.model_state("digits"), earlier_versions=["1.0.0"])
            assert ask.ask(site.topics.infer("digits", "1.0.0"), request()).json["model_version"] == "1.0.0"

    def test_without_it_the_refusal_says_that_the_version_is_in_the_store(self, site: Site, embedded: Broker) -> None:
        config = site.configure(embedded)
        for release in (1, 2):
            site.install(config, release=release)
        with site.listener(embedded) as heard, running_agent(config), asker(embedded) as ask:
            heard.wait_for(site.topics.model_state("digits"), health="ready")
            reply = ask.ask(site.topics.infer("digits", "1.0.0"), request()).json
            assert reply["code"] == "unknown_model"
            assert "it is in the store, and limits.versions = 2 would serve it too" in reply["error"]
            assert "in the store" not in ask.ask(site.topics.infer("digits", "9.9.9"), request()).json["error"]

    def test_the_release_before_counts_against_the_memory_budget(self, site: Site, embedded: Broker) -> None:
        config = site.configure(embedded)
        site.install(config)
        footprint = json.loads(run_agent_command(config, "plan", "digits", "--json").stdout)["footprint_bytes"]
        limit = f"limits.memory = {footprint * 3 // 2}"
        package = make_package(site.folder, site.keys, release=2)
        site.configure(embedded, extra=f"{limit}\nlimits.versions = 2")
        refused = run_agent_command(config, "install", str(package), check=False)
        assert "[memory_budget_exceeded]" in refused.stderr
        site.configure(embedded, extra=limit)
        run_agent_command(config, "install", str(package))
