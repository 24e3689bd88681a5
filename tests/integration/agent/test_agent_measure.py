"""The command `measure` to the real agent: what it answers, what it refuses, and that nothing of it stays."""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest

from drupelet_agent.store.store import Store
from drupelet_host.client import BrokerAddress
from drupelet_host.client.control.control import ControlClient
from drupelet_host.client.control.package_file import measure_file
from drupelet_host.client.control.upload import upload
from drupelet_host.errors import DeviceRestartedError, RemoteError
from drupelet_shared.contract.commands import CommandProgress, InstalledModels, InstalledRelease, InstallRequest
from drupelet_shared.contract.commands import ListRequest as ListAll
from drupelet_shared.contract.measuring import CandidateTiming, MeasureReport, MeasureRequest
from drupelet_shared.inference import InferenceReply, InferenceRequest, encode_request
from support.agent.agents import RunningAgent, running_agent
from support.agent.sites import Site
from support.broker.brokers import Broker
from support.package.served_packages import LITERT_VARIANT, VARIANT, make_keys, make_package, slow_model

MEASURE = "trust.measure = true"
IMAGE = {"image": np.zeros((1, 1, 8, 8), np.float32)}
BODY = encode_request(InferenceRequest(inputs=IMAGE), binary=True)


def control(broker: Broker) -> ControlClient:
    return ControlClient(broker=BrokerAddress(broker.host, broker.port))


def send(client: ControlClient, site: Site, package: Path) -> str:
    """Upload a package and return its source."""
    file, device = measure_file(package), site.topics.device
    upload(client, device, file, topic=site.topics.upload(file.digest), on_bytes=lambda _done, _total: None)
    return f"upload:{file.digest}"


def measure(client: ControlClient, site: Site, source: str, **changes: object) -> MeasureReport:
    request = MeasureRequest.model_validate({"source": source, "max_seconds": 2.0, **changes})
    return client.command(site.topics.device, "measure", request, MeasureReport)


def write_rubbish(path: Path) -> None:
    path.write_bytes(b"no model")


def leftovers(site: Site) -> list[str]:
    """What the state folder holds besides locks and folders."""
    state = site.folder / "state"
    return sorted(str(path.relative_to(state)) for path in state.rglob("*") if path.is_file() and path.name != "lock")


def an_endless_candidate(site: Site) -> tuple[Path, dict[str, object]]:
    package = make_package(site.folder, site.keys, name="endless", model=slow_model(products=4, size=256))
    return package, {"precision": 1e-9, "max_seconds": 600.0}


@contextmanager
def measuring(client: ControlClient, site: Site) -> Iterator[list[BaseException]]:
    """Keep the device measuring for the length of the block; the list receives how that ended."""
    package, endless = an_endless_candidate(site)
    source = send(client, site, package)
    begun, ends = threading.Event(), list[BaseException]()

    def on_progress(progress: CommandProgress) -> None:
        if progress.stage == "verified":
            begun.set()

    def run() -> None:
        request = MeasureRequest.model_validate({"source": source, **endless})
        try:
            client.command(site.topics.device, "measure", request, MeasureReport, on_progress=on_progress)
        except RemoteError as error:
            ends.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert begun.wait(60)
    yield ends
    thread.join(timeout=60)
    assert not thread.is_alive()


@contextmanager
def busy_device(site: Site, broker: Broker) -> Iterator[None]:
    """Keep requests waiting at the device for the length of the block, however fast it answers them."""
    over = threading.Event()
    pending: queue.SimpleQueue[Future[InferenceReply]] = queue.SimpleQueue()
    with site.client(broker) as client:

        def keep_asking() -> None:
            while not over.is_set():
                pending.put(client.submit("digits", BODY))
                pending.get().result(timeout=60)

        for _ in range(4):
            pending.put(client.submit("digits", BODY))
        thread = threading.Thread(target=keep_asking)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(timeout=60)
        while not pending.empty():
            assert pending.get().result(timeout=60).outputs


def test_variants_are_measured_in_turns_and_nothing_of_them_stays(site: Site, broker: Broker) -> None:
    package = make_package(site.folder, site.keys, variants=(VARIANT, LITERT_VARIANT))
    with running_agent(site.configure(broker, extra=MEASURE)), control(broker) as client:
        report = measure(client, site, send(client, site, package), precision=0.2, layers=True)
        assert client.command(site.topics.device, "list", ListAll(), InstalledModels).models == ()
    assert [timing.variant for timing in report.variants] == [VARIANT, LITERT_VARIANT]
    for timing in report.variants:
        check_is_measured(timing)
    ort, litert = report.variants
    assert ort.operators is not None
    assert {"MatMul", "Gemm"} & {operator.type for operator in ort.operators}
    assert litert.operators is None
    assert report.board
    assert report.measured_s > 0
    assert leftovers(site) == []


def check_is_measured(timing: CandidateTiming) -> None:
    assert timing.error is None
    assert timing.engine_version
    assert timing.runs >= 10
    assert timing.p50_ms is not None
    assert timing.p99_ms is not None
    assert timing.p50_ms <= timing.p99_ms
    assert timing.p50_interval is not None
    assert timing.p50_interval.low_ms <= timing.p50_ms
    assert timing.memory_bytes is not None
    assert timing.memory_bytes > 1_000_000


def test_a_device_measures_nothing_unless_it_is_allowed_to(site: Site, embedded: Broker) -> None:
    with running_agent(site.configure(embedded)), control(embedded) as client:
        source = send(client, site, make_package(site.folder, site.keys))
        with pytest.raises(RemoteError, match=r"trust\.measure = true") as refusal:
            measure(client, site, source)
    assert refusal.value.device_code == "measuring_forbidden"


def test_a_candidate_of_an_untrusted_maker_is_refused_and_removed(site: Site, embedded: Broker) -> None:
    other = make_keys(site.folder, "other")
    with running_agent(site.configure(embedded, extra=MEASURE)), control(embedded) as client:
        for keys, code in ((other, "signature_untrusted"), (None, "signature_missing")):
            with pytest.raises(RemoteError) as refusal:
                measure(client, site, send(client, site, make_package(site.folder, keys)))
            assert refusal.value.device_code == code
    assert leftovers(site) == []


def test_bytes_that_are_not_those_of_the_digest_are_refused(site: Site, embedded: Broker) -> None:
    package = make_package(site.folder, site.keys)
    claimed = hashlib.sha256(b"other bytes").hexdigest()
    with running_agent(site.configure(embedded, extra=MEASURE)), control(embedded) as client:
        with pytest.raises(RemoteError) as refusal:
            measure(client, site, f"upload:{claimed}")
        assert refusal.value.device_code == "unknown_upload"
        assert measure(client, site, package.as_uri(), precision=0.5).variants[0].error is None


def test_a_variant_that_does_not_load_is_reported_and_the_others_are_measured(site: Site, embedded: Broker) -> None:
    package = make_package(
        site.folder, site.keys, variants=(VARIANT, LITERT_VARIANT), spoil={LITERT_VARIANT: write_rubbish}
    )
    with running_agent(site.configure(embedded, extra=MEASURE)), control(embedded) as client:
        ort, litert = measure(client, site, send(client, site, package), precision=0.5).variants
    check_is_measured(ort)
    assert litert.code == "model_load_failed"
    assert litert.p50_ms is None


def test_an_installation_and_requests_go_on_while_a_candidate_is_measured(site: Site, embedded: Broker) -> None:
    device = site.topics.device
    with (
        running_agent(site.configure(embedded, extra=MEASURE)) as agent,
        control(embedded) as client,
        measuring(client, site) as ends,
        site.listener(embedded) as listener,
        site.client(embedded) as requests,
    ):
        request = InstallRequest(source=make_package(site.folder, site.keys).as_uri())
        assert client.command(device, "install", request, InstalledRelease).release == 1
        listener.wait_for(site.topics.model_state("digits"), health="ready")
        assert requests.infer("digits", IMAGE).outputs["scores"].shape == (1, 10)
        assert ends == []
        assert agent.stop() == 0
        client.cancel()
    assert "digits" in Store(site.folder / "state").active()
    assert not any(name.startswith("candidates") for name in leftovers(site))


def test_a_device_that_is_never_quiet_says_so_instead_of_measuring(site: Site, embedded: Broker) -> None:
    config = site.configure(embedded, extra=MEASURE)
    site.install(config, model=slow_model(products=8))
    candidate = make_package(site.folder, site.keys, name="candidate")
    with running_agent(config), control(embedded) as client, site.listener(embedded) as listener:
        listener.wait_for(site.topics.model_state("digits"), health="ready")
        source = send(client, site, candidate)
        with busy_device(site, embedded):
            with pytest.raises(RemoteError, match="requests are being answered") as refusal:
                measure(client, site, source, max_wait_s=0.01)
            assert refusal.value.device_code == "measuring_paused"
        assert measure(client, site, send(client, site, candidate), precision=0.5).variants[0].error is None


def test_an_agent_that_is_killed_leaves_no_process_and_the_next_one_no_file(site: Site, embedded: Broker) -> None:
    config = site.configure(embedded, extra=MEASURE)
    with control(embedded) as client, running_agent(config) as agent, measuring(client, site) as ends:
        descendants = _wait_for_worker(agent)
        agent.process.kill()
        agent.process.wait(timeout=20)
        _, alive = psutil.wait_procs(descendants, timeout=20)
        assert alive == []
        assert any(name.startswith("candidates") for name in leftovers(site))
        with running_agent(config):
            deadline = time.monotonic() + 30
            while any(name.startswith("candidates") for name in leftovers(site)):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            while not ends:
                assert time.monotonic() < deadline
                time.sleep(0.05)
    (end,) = ends
    assert isinstance(end, DeviceRestartedError)


def _wait_for_worker(agent: RunningAgent) -> list[psutil.Process]:
    deadline = time.monotonic() + 30
    while True:
        descendants = psutil.Process(agent.process.pid).children(recursive=True)
        if any("drupelet_agent.worker" in process.cmdline() for process in descendants):
            return descendants
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_was_made_to_be_measured_is_never_installed(site: Site, embedded: Broker) -> None:
    package = make_package(site.folder, site.keys, task="measurement")
    with running_agent(site.configure(embedded, extra=MEASURE)), control(embedded) as client:
        request = InstallRequest(source=package.as_uri())
        with pytest.raises(RemoteError, match="was made to be measured") as refusal:
            client.command(site.topics.device, "install", request, InstalledRelease)
        assert refusal.value.device_code == "wrong_package"
        assert measure(client, site, package.as_uri(), precision=0.5).variants[0].error is None
