"""Plans on real workers: instances, objectives, what is kept, what is measured again, and who serves meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from drupelet_agent.config.loader import load_config
from support.agent.agents import Listener, agent_command, run_agent_command, running_agent
from support.agent.asking import Asker, asker
from support.agent.sites import Site
from support.broker.brokers import Broker
from support.package.served_packages import greedy_model, make_package, slow_model

TWO_CORES = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
# Twice as many threads may be asked for as instances; on one thread each, two instances need two cores.
TWO_INSTANCES = "tuning.objective = 'throughput'\ntuning.instances = [2]\ntuning.max_seconds = 0.3"


@pytest.fixture
def broker(embedded: Broker) -> Broker:
    """One broker is enough: planning is no matter between the agent and the broker."""
    return embedded


def request(*, brightness: float = 0.5) -> bytes:
    tensor = {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [brightness] * 64}
    return json.dumps({"inputs": [tensor]}).encode()


def plan_of(config: Path, model: str = "digits") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run_agent_command(config, "plan", model, "--json").stdout)
    return found


@TWO_CORES
def test_throughput_measures_instances_together_and_the_plan_says_so(site: Site, embedded: Broker) -> None:
    config = site.configure(embedded, extra="tuning.objective = 'throughput'\ntuning.max_seconds = 0.3")
    site.install(config)
    plan = plan_of(config)
    assert plan["objective"] == "throughput"
    assert "2 of ort-fp32 x1 p50" in plan["reason"]
    assert plan["reason"].startswith("most inferences per second")
    assert plan["throughput_per_s"] > 0
    assert "instance(s) of 1 thread(s)" in run_agent_command(config, "plan", "digits").stdout


@TWO_CORES
def test_two_instances_take_from_one_queue_and_one_that_is_killed_does_not_stop_the_other(
    site: Site, broker: Broker
) -> None:
    config = site.configure(broker, extra=TWO_INSTANCES, interval_s=60.0)
    site.install(config, model=slow_model(products=30, size=768))
    topic = site.topics.infer("digits")
    with site.listener(broker) as heard, running_agent(config) as agent, asker(broker) as ask:
        state = heard.wait_for(site.topics.model_state("digits"), health="ready")
        assert state["plan"]["instances"] == 2
        workers = _workers(agent.process.pid, count=2)
        _all_ready(agent.log, count=2)
        busy_before = sum(workers[1].cpu_times()[:2])
        # It stands still, so that it has not answered before it is killed, however fast the machine.
        workers[0].suspend()
        sent = [ask.send(topic, request()) for _ in range(8)]
        time.sleep(0.2)
        workers[0].kill()
        codes = [reply.user_properties["code"] for reply in ask.collect(len(sent))]
        # Only what the dead one was computing is lost, and the model was never out of service.
        assert sorted(codes) == ["inference_failed", *["ok"] * 7]
        assert sum(workers[1].cpu_times()[:2]) > busy_before
        assert heard.wait_for(site.topics.model_state("digits"))["health"] == "ready"
        assert len(_workers(agent.process.pid, count=2)) == 2


@TWO_CORES
def test_a_request_goes_to_the_instance_with_the_least_to_do(site: Site, embedded: Broker) -> None:
    config = site.configure(embedded, extra=TWO_INSTANCES)
    site.install(config)
    with site.listener(embedded) as heard, running_agent(config) as agent, asker(embedded) as ask:
        heard.wait_for(site.topics.model_state("digits"), health="ready")
        stopped, _ = _workers(agent.process.pid, count=2)
        _all_ready(agent.log, count=2)
        stopped.suspend()
        sent = {ask.send(site.topics.infer("digits"), request()) for _ in range(2)}
        # One of the two waits for the instance that stands still; the other must not.
        first = ask.next_reply()
        stopped.resume()
        assert {first.correlation, ask.next_reply().correlation} == sent


def _all_ready(log: Path, *, count: int) -> None:
    deadline = time.monotonic() + 20
    while log.read_text("utf-8").count("worker ready") < count:
        assert time.monotonic() < deadline, "the workers were never ready"
        time.sleep(0.05)


def _workers(agent_pid: int, *, count: int) -> list[psutil.Process]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        workers = psutil.Process(agent_pid).children()
        if len(workers) == count:
            return sorted(workers, key=lambda worker: worker.pid)
        time.sleep(0.05)
    raise AssertionError(f"{count} workers were never there")


@TWO_CORES
def test_the_memory_of_every_instance_counts(site: Site, embedded: Broker) -> None:
    extra = "tuning.objective = 'throughput'\ntuning.max_seconds = 0.2\ntuning.instances = [%d]"
    footprints = []
    for number in (1, 2):
        config = site.configure(embedded, extra=extra % number)
        site.install(config)
        footprints.append(plan_of(config)["footprint_bytes"])
    assert 1.8 < footprints[1] / footprints[0] < 2.2


def test_a_package_that_was_measured_before_is_not_measured_again(site: Site, embedded: Broker) -> None:
    config = site.configure(embedded)
    package = str(make_package(site.folder, site.keys))
    first = run_agent_command(config, "install", package).stderr
    before = plan_of(config)["p99_ms"]
    again = run_agent_command(config, "install", package).stderr
    assert "(known)" not in first
    assert "ort-fp32 on 1 threads: " in again
    assert "(known)" in again
    assert plan_of(config)["p99_ms"] == before


def spoil_golden_vectors(site: Site) -> None:
    """What lies in the store is no longer what was verified, as after a fault of the card."""
    (package,) = (site.folder / "state/packages").iterdir()
    (package / "golden/ort-fp32.npz").write_bytes(b"no vectors")


def test_what_is_known_is_compared_with_the_golden_vectors_all_the_same(site: Site, embedded: Broker) -> None:
    config = site.configure(embedded)
    site.install(config)
    before = plan_of(config)
    retune = [sys.executable, "-m", "drupelet_agent.app.retuning", "digits", "a test"]
    document = load_config(config).model_dump_json()

    def tune_with_what_is_known() -> subprocess.CompletedProcess[str]:
        return subprocess.run(retune, input=document, capture_output=True, text=True, timeout=60, check=False)

    done = tune_with_what_is_known()
    assert done.returncode == 0, done.stderr
    assert plan_of(config)["p99_ms"] == before["p99_ms"]
    spoil_golden_vectors(site)
    assert tune_with_what_is_known().returncode == 1
    assert [change["what"] for change in plan_of(config)["changes"]] == ["installed", "tuned"]


def test_a_check_on_demand_finds_outputs_that_cannot_be_compared(site: Site, embedded: Broker) -> None:
    config = site.configure(embedded)
    site.install(config)
    spoil_golden_vectors(site)
    result = run_agent_command(config, "check", "digits", check=False)
    assert result.returncode == 1
    assert "golden vectors" in result.stdout


def test_tuning_on_demand_measures_anew_and_remembers_why(site: Site, embedded: Broker) -> None:
    config = site.configure(embedded)
    site.install(config)
    result = run_agent_command(config, "tune", "digits")
    assert "(known)" not in result.stderr
    assert [change["what"] for change in plan_of(config)["changes"]] == ["installed", "tuned"]
    assert "tuned release 1: ort-fp32, 1 x 1 threads" in run_agent_command(config, "plan", "digits").stdout
    assert "[not_installed]" in run_agent_command(config, "tune", "faces", check=False).stderr


def test_a_contract_that_cannot_be_kept_here_refuses_the_package(site: Site, embedded: Broker) -> None:
    config = site.configure(embedded, extra="models.digits.contract.p99_ms = 0.0001")
    package = make_package(site.folder, site.keys)
    result = run_agent_command(config, "install", str(package), check=False)
    assert result.returncode == 1
    assert "no variant keeps the contract of p99 0.00 ms here; the fastest is ort-fp32 x1: p99" in result.stderr
    assert "[contract_broken]" in result.stderr


def test_a_check_on_demand_compares_with_golden_vectors_and_contract(site: Site, embedded: Broker) -> None:
    config = site.configure(embedded)
    site.install(config)
    assert "golden vectors kept" in run_agent_command(config, "check", "digits").stdout
    config = site.configure(embedded, extra="contract.p99_ms = 0.0001")
    result = run_agent_command(config, "check", "digits", "--json", check=False)
    assert result.returncode == 1
    verdict = json.loads(result.stdout)
    assert verdict["golden"] is True
    assert verdict["limit_p99_ms"] == 0.0001
    assert "the contract allows 0.00 ms" in verdict["fault"]


def test_tuning_a_served_model_loses_no_request_and_the_plan_is_followed(site: Site, broker: Broker) -> None:
    config = site.configure(broker)
    site.install(config)
    topic = site.topics.infer("digits")
    with site.listener(broker) as heard, running_agent(config), asker(broker) as ask:
        heard.wait_for(site.topics.model_state("digits"), health="ready")
        # The plan that follows from another configuration needs other workers.
        config.write_text(config.read_text("utf-8").replace("tuning.threads = [1]", "tuning.threads = [2]"), "utf-8")
        tuning = subprocess.Popen(agent_command(config, "tune", "digits"), stderr=subprocess.DEVNULL)
        codes = []
        while tuning.poll() is None or len(codes) < 50:
            codes.append(ask.ask(topic, request()).user_properties["code"])
        assert tuning.returncode == 0
        assert set(codes) == {"ok"}
        expected = min(2, len(os.sched_getaffinity(0)))
        _wait_for_threads(heard, site, expected)
        assert ask.ask(topic, request()).user_properties["code"] == "ok"


def _wait_for_threads(heard: Listener, site: Site, expected: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        state = heard.wait_for(site.topics.model_state("digits"), health="ready")
        if state["plan"]["threads"] == expected:
            return
        heard.latest.pop(site.topics.model_state("digits"))
    raise AssertionError("the new plan was never announced")


@TWO_CORES
def test_fewer_cores_are_noticed_and_lead_to_another_plan_without_a_request_lost(site: Site, broker: Broker) -> None:
    extra = "retune.look_s = 0.2\nretune.confirm = 2\nretune.min_interval_s = 0\ntuning.max_seconds = 0.3"
    config = site.configure(broker, extra=extra)
    site.install(config)
    topic = site.topics.infer("digits")
    with site.listener(broker) as heard, running_agent(config) as agent, asker(broker) as ask:
        before = heard.wait_for(site.topics.model_state("digits"), health="ready")
        agent_process = psutil.Process(agent.process.pid)
        agent_process.cpu_affinity(agent_process.cpu_affinity()[:1])
        codes = []
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            codes.append(ask.ask(topic, request()).user_properties["code"])
            if plan_changed(site, before):
                break
        changes = plan_of(config)["changes"]
        assert changes[-1]["what"] == "tuned"
        assert changes[-1]["why"] == f"usable cores {before['plan']['cores']} -> 1"
        assert plan_of(config)["cores"] == 1
        assert set(codes) == {"ok"}
        # And the cause being gone, nothing is measured any more.
        time.sleep(2)
        assert len(plan_of(config)["changes"]) == len(changes)


def plan_changed(site: Site, before: dict[str, Any]) -> bool:
    record = json.loads((site.folder / "state/models/digits.json").read_text("utf-8"))
    return bool(record["active"]["plan"]["cores"] != before["plan"]["cores"])


def test_latency_that_leaves_the_plan_is_measured_again(site: Site, broker: Broker) -> None:
    extra = "retune.look_s = 0.3\nretune.confirm = 2\nretune.min_interval_s = 600\ntuning.max_seconds = 0.3"
    config = site.configure(broker, extra=extra)
    # What the golden vectors take is what one megapixel takes; a bright image is twenty times the work.
    site.install(config, model=greedy_model())
    with site.listener(broker) as heard, running_agent(config), asker(broker) as ask:
        heard.wait_for(site.topics.model_state("digits"), health="ready")
        reason = _ask_until_tuned(ask, site, request(brightness=20.0))
    assert reason.startswith("served latency has left the plan: ")


def _ask_until_tuned(ask: Asker, site: Site, payload: bytes) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        ask.ask(site.topics.infer("digits"), payload)
        last = json.loads((site.folder / "state/models/digits.json").read_text("utf-8"))["changes"][-1]
        if last["what"] == "tuned":
            return str(last["why"])
    raise AssertionError("the model was never measured again")


def test_two_models_that_want_all_cores_are_both_served(site: Site, broker: Broker) -> None:
    config = site.configure(broker, extra="limits.queue_length = 200\ntuning.max_seconds = 0.3")
    site.install(config, name="heavy", model=slow_model(products=30, size=768))
    site.install(config, name="digits")
    assert "shared with heavy" in plan_of(config, "digits")["reason"]
    heavy, digits = site.topics.infer("heavy"), site.topics.infer("digits")
    with site.listener(broker) as heard, running_agent(config), asker(broker) as ask, asker(broker, name="b") as other:
        for model in ("heavy", "digits"):
            heard.wait_for(site.topics.model_state(model), health="ready")
        # QoS 0 is not held back by Receive Maximum.
        backlog = [other.send(heavy, request(), qos=0) for _ in range(60)]
        codes = [ask.ask(digits, request()).user_properties["code"] for _ in range(50)]
        assert codes == ["ok"] * 50
        # They were answered while the other model's queue was still being worked on.
        assert other.replies.qsize() < len(backlog)


def test_models_that_split_the_cores_plan_with_their_part(site: Site, embedded: Broker) -> None:
    config = site.configure(embedded, extra="tuning.cores = 'split'")
    site.install(config, name="faces")
    site.install(config, name="digits")
    cores = len(os.sched_getaffinity(0))
    plan = plan_of(config, "digits")
    assert plan["cores"] == max(1, cores // 2)
    assert "split with faces" in plan["reason"]
