"""The memory budget on real workers: a limit that holds in native code, who yields to whom, and what is refused."""

from __future__ import annotations

import json
import resource
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from support.agent.agents import RunningAgent, run_agent_command, running_agent
from support.agent.asking import asker
from support.agent.sites import Site, worker_of
from support.broker.brokers import Broker
from support.model.tflite_models import write_greedy_tflite
from support.package.served_packages import LITERT_VARIANT, VARIANT, greedy_model, make_package

MB = 10**6


@pytest.fixture
def broker(embedded: Broker) -> Broker:
    """One broker is enough: memory is no matter between the agent and the broker."""
    return embedded


def request(*, brightness: float = 0.5) -> bytes:
    tensor = {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [brightness] * 64}
    return json.dumps({"inputs": [tensor]}).encode()


def plan_of(config: Path, model: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run_agent_command(config, "plan", model, "--json").stdout)
    return found


def test_the_parent_maps_neither_openssl_nor_the_compressions_of_archives(site: Site, embedded: Broker) -> None:
    config = site.configure(embedded)
    with site.listener(embedded) as heard, running_agent(config) as agent:
        heard.wait_for(site.topics.status, state="online")
        maps = Path(f"/proc/{agent.process.pid}/maps").read_text(encoding="utf-8")
    assert "_asyncio" in maps
    assert not [name for name in ("libssl", "libcrypto", "_lzma", "_bz2") if name in maps]


@pytest.mark.parametrize("variant", [VARIANT, LITERT_VARIANT])
def test_a_native_allocation_beyond_the_limit_fails_in_either_engine_and_the_model_serves_on(
    site: Site, embedded: Broker, variant: str
) -> None:
    config = site.configure(embedded, extra='limits.memory = "500MB"')
    package = make_package(
        site.folder,
        site.keys,
        model=greedy_model(),
        variants=(variant,),
        write={LITERT_VARIANT: write_greedy_tflite},
    )
    run_agent_command(config, "install", str(package))
    topic = site.topics.infer("digits")
    with site.listener(embedded) as heard, running_agent(config) as agent, asker(embedded) as ask:
        heard.wait_for(site.topics.model_state("digits"), health="ready")
        peak_bytes = 0
        # 40 MB, 2 GB, 40 GB, and again what fitted before.
        for brightness in (10.0, 500.0, 10_000.0, 10.0):
            reply = ask.ask(topic, request(brightness=brightness))
            assert reply.user_properties["code"] == ("ok" if brightness == 10.0 else "inference_failed")
            # A worker may be replaced between the looks.
            for worker in psutil.Process(agent.process.pid).children():
                with suppress(psutil.Error):
                    peak_bytes = max(peak_bytes, worker.memory_info().rss)
            # LiteRT's kernels fail without saying that it was for want of memory.
            assert brightness == 10.0 or any(
                text in reply.json["error"] for text in ("out of memory", "failed to invoke")
            )
        assert 0 < peak_bytes < 500 * MB


def test_a_worker_that_ran_out_of_memory_is_replaced_and_nobody_elses_request_is_lost(
    site: Site, broker: Broker
) -> None:
    config = site.configure(broker, extra='limits.memory = "500MB"')
    site.install(config, model=greedy_model())
    topic = site.topics.infer("digits")
    with site.listener(broker) as heard, running_agent(config) as agent, asker(broker) as ask:
        heard.wait_for(site.topics.model_state("digits"), health="ready")
        worker = worker_of(agent.process.pid)
        too_much = [ask.send(topic, request(brightness=500.0)) for _ in range(6)]
        others = [ask.send(topic, request()) for _ in range(6)]
        replies = [ask.next_reply() for _ in range(12)]
        codes = {reply.correlation: reply.user_properties["code"] for reply in replies}
        assert codes == {**dict.fromkeys(too_much, "inference_failed"), **dict.fromkeys(others, "ok")}
        # Six of them in a row are neither a crash loop nor a reason to roll back.
        assert worker_of(agent.process.pid).pid != worker.pid
        assert heard.wait_for(site.topics.model_state("digits"), health="ready")["release"] == 1
        assert agent.stop() == 0


class TestEviction:
    """Two models in room for one and a half."""

    @staticmethod
    def configure(site: Site, broker: Broker, *, extra: str = "") -> tuple[Path, int]:
        """Both installed, and a limit that either fits in alone; also what one of them holds."""
        config = site.configure(broker)
        for name in ("digits", "faces"):
            site.install(config, name=name)
        footprint = max(plan_of(config, name)["footprint_bytes"] for name in ("digits", "faces"))
        lines = f"limits.memory = {footprint * 3 // 2}\n{extra}"
        return site.configure(broker, extra=lines), footprint

    def test_without_it_the_second_model_is_refused_with_both_numbers(self, site: Site, embedded: Broker) -> None:
        config, _ = self.configure(site, embedded)
        with site.listener(embedded) as heard, running_agent(config) as agent, asker(embedded) as ask:
            # The one that was installed last is the one that is kept.
            heard.wait_for(site.topics.model_state("faces"), health="ready")
            state = heard.wait_for(site.topics.model_state("digits"), health="failed")
            assert state["code"] == "memory_budget_exceeded"
            assert "it needs" in state["error"]
            assert "the models in memory leave" in state["error"]
            assert "(limits.memory)" in state["error"]
            reply = ask.ask(site.topics.infer("digits"), request())
            assert reply.user_properties["code"] == "model_unavailable"
            assert len(psutil.Process(agent.process.pid).children()) == 1
            # Nothing that is installed is rolled back for it, and with room it is served.
            (site.folder / "state/models/faces.json").unlink()
            heard.wait_for(site.topics.model_state("digits"), health="ready")
            assert ask.ask(site.topics.infer("digits"), request()).user_properties["code"] == "ok"

    def test_an_install_that_does_not_fit_beside_the_others_is_refused(self, site: Site, embedded: Broker) -> None:
        config, _ = self.configure(site, embedded)
        package = make_package(site.folder, site.keys, name="third")
        result = run_agent_command(config, "install", str(package), check=False)
        assert "[memory_budget_exceeded]" in result.stderr
        assert "(limits.memory)" in result.stderr

    def test_a_request_brings_an_evicted_model_back_and_the_least_recently_used_yields(
        self, site: Site, broker: Broker
    ) -> None:
        extra = "limits.evict = 'least-recently-used'\nlimits.keep_s = 0.2"
        config, _ = self.configure(site, broker, extra=extra)
        states = {name: site.topics.model_state(name) for name in ("digits", "faces")}
        with site.listener(broker) as heard, running_agent(config) as agent, asker(broker) as ask:
            heard.wait_for(states["faces"], health="ready")
            heard.wait_for(states["digits"], health="evicted")
            for wanted, other in (("digits", "faces"), ("faces", "digits"), ("digits", "faces")):
                time.sleep(0.3)
                heard.latest.clear()
                assert ask.ask(site.topics.infer(wanted), request()).user_properties["code"] == "ok"
                state = heard.wait_for(states[other], health="evicted")
                assert state["error"] == f"made room for {wanted}, least recently used"
                assert state["code"] == "model_unavailable"
                assert len(psutil.Process(agent.process.pid).children()) == 1
            assert agent.stop() == 0

    def test_a_model_in_use_does_not_yield_and_the_request_is_told_so_at_once(
        self, site: Site, embedded: Broker
    ) -> None:
        extra = "limits.evict = 'least-recently-used'\nlimits.keep_s = 60"
        config, _ = self.configure(site, embedded, extra=extra)
        with site.listener(embedded) as heard, running_agent(config), asker(embedded) as ask:
            heard.wait_for(site.topics.model_state("faces"), health="ready")
            heard.wait_for(site.topics.model_state("digits"), health="evicted")
            reply = ask.ask(site.topics.infer("digits"), request())
            assert reply.json["code"] == "model_unavailable"
            assert "models used in the last 60 s are not evicted" in reply.json["error"]
            assert ask.ask(site.topics.infer("faces"), request()).user_properties["code"] == "ok"

    def test_an_installed_model_takes_the_place_of_the_least_recently_used(self, site: Site, embedded: Broker) -> None:
        config, _ = self.configure(site, embedded, extra="limits.evict = 'least-recently-used'")
        with site.listener(embedded) as heard, running_agent(config), asker(embedded) as ask:
            heard.wait_for(site.topics.model_state("faces"), health="ready")
            site.install(config, name="third")
            heard.wait_for(site.topics.model_state("third"), health="ready")
            assert heard.wait_for(site.topics.model_state("faces"), health="evicted")["error"] == (
                "made room for third, least recently used"
            )
            assert ask.ask(site.topics.infer("third"), request()).user_properties["code"] == "ok"

    def test_a_burst_for_an_evicted_model_is_answered_whole(self, site: Site, broker: Broker) -> None:
        extra = "limits.evict = 'least-recently-used'\nlimits.keep_s = 0"
        config, _ = self.configure(site, broker, extra=extra)
        with site.listener(broker) as heard, running_agent(config), asker(broker) as ask:
            heard.wait_for(site.topics.model_state("faces"), health="ready")
            heard.wait_for(site.topics.model_state("digits"), health="evicted")
            sent = [ask.send(site.topics.infer("digits"), request()) for _ in range(30)]
            replies = ask.collect(len(sent))
        assert {reply.correlation for reply in replies} == set(sent)
        assert {reply.user_properties["code"] for reply in replies} == {"ok"}


class TestShares:
    """Two models that really allocate, in room for both and some more."""

    @staticmethod
    def limits_of(agent: RunningAgent) -> list[int]:
        """What each worker that has set its limit may allocate, without the stacks of its one thread."""
        found = []
        for worker in psutil.Process(agent.process.pid).children():
            # One that has just ended has none.
            with suppress(ProcessLookupError):
                found.append(resource.prlimit(worker.pid, resource.RLIMIT_DATA)[0] - 8 * 2**20)
        return [limit for limit in found if limit > 0]

    @staticmethod
    def install(site: Site, broker: Broker) -> tuple[Path, int]:
        """Both installed under a limit of what they hold and 400 MB more."""
        config = site.configure(broker)
        for name in ("digits", "faces"):
            site.install(config, name=name, model=greedy_model())
        limit = sum(plan_of(config, name)["footprint_bytes"] for name in ("digits", "faces")) + 400 * MB
        lines = f"limits.memory = {limit + MB}\nlimits.messages = {MB}"
        return site.configure(broker, extra=lines), limit

    def test_all_workers_together_may_never_allocate_more_than_the_limit(self, site: Site, embedded: Broker) -> None:
        config, limit = self.install(site, embedded)
        with site.listener(embedded) as heard, running_agent(config) as agent, asker(embedded) as ask:
            for name in ("digits", "faces"):
                heard.wait_for(site.topics.model_state(name), health="ready")
            assert sum(self.limits_of(agent)) <= limit
            # Twice 20 MB fit in its share; twice 112 MB fit beside what the neighbour holds, not beside its share.
            for name, brightness, code in (
                ("digits", 5.0, "ok"),
                ("digits", 28.0, "inference_failed"),
                ("faces", 0.5, "ok"),
                ("digits", 0.5, "ok"),
            ):
                reply = ask.ask(site.topics.infer(name), request(brightness=brightness))
                assert (name, brightness, reply.user_properties["code"]) == (name, brightness, code)
            held = [worker.memory_info().rss for worker in psutil.Process(agent.process.pid).children()]
            assert sum(held) <= limit
            # Once the neighbour is gone its share is free, and no worker has to start again for it.
            pids = {worker.pid for worker in psutil.Process(agent.process.pid).children()}
            (site.folder / "state/models/faces.json").unlink()
            heard.wait_for(site.topics.model_state("faces"), health="removed")
            while len(limits := self.limits_of(agent)) > 1 or limits[0] < limit * 7 // 8 - MB:
                time.sleep(0.05)
            assert limits[0] <= limit
            reply = ask.ask(site.topics.infer("digits"), request(brightness=28.0))
            assert reply.user_properties["code"] == "ok", reply.json
            assert worker_of(agent.process.pid).pid in pids

    def test_a_release_that_does_not_fit_beside_the_one_before_it_takes_its_place_and_no_request_is_lost(
        self, site: Site, broker: Broker
    ) -> None:
        config = site.configure(broker)
        site.install(config)
        footprint = plan_of(config, "digits")["footprint_bytes"]
        config = site.configure(broker, extra=f"limits.memory = {footprint * 3 // 2}")
        with site.listener(broker) as heard, running_agent(config) as agent, asker(broker) as ask:
            heard.wait_for(site.topics.model_state("digits"), health="ready", release=1)
            sent = [ask.send(site.topics.infer("digits"), request()) for _ in range(20)]
            site.install(config, release=2)
            sent += [ask.send(site.topics.infer("digits"), request()) for _ in range(20)]
            heard.wait_for(site.topics.model_state("digits"), health="ready", release=2)
            assert sum(self.limits_of(agent)) <= footprint * 3 // 2
            replies = ask.collect(len(sent))
            assert {reply.correlation for reply in replies} == set(sent)
            assert {reply.user_properties["code"] for reply in replies} == {"ok"}
