"""`drupelet push` to the real agent: over good links and bad, through restarts of the agent, good files and others."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from drupelet_agent.store.store import Store
from drupelet_host.client import BrokerAddress
from drupelet_host.client.control.control import ControlClient
from drupelet_host.client.control.package_file import PackageFile, measure_file
from drupelet_host.client.control.upload import upload
from drupelet_host.errors import RemoteError, ReplyTimeoutError
from drupelet_shared.contract.commands import InstalledRelease, InstallRequest
from support.agent.agents import running_agent
from support.agent.commands import drupelet
from support.agent.repeating import repeating
from support.agent.sites import Site, make_site
from support.broker.brokers import Broker, mosquitto_broker
from support.broker.proxy import proxy
from support.package.served_packages import make_package, wide_model


def test_a_package_is_pushed_listed_rolled_back_and_removed_from_the_workstation(site: Site, embedded: Broker) -> None:
    where = ("--device", site.topics.device, "--broker", embedded.url)
    with running_agent(site.configure(embedded)):
        for release in (1, 2):
            package = make_package(site.folder, site.keys, release=release)
            pushed = drupelet("push", str(package), *where)
            assert f"digits {release}.0.0 release {release} is active on {site.topics.device}" in pushed.stdout
        stages = [line.split()[1] for line in pushed.stderr.splitlines() if line.startswith(f"{site.topics.device}  ")]
        assert stages == ["received:", "verified:", "golden_check:", "measured:", "tuned:", "active:"]
        again = drupelet("push", str(package), *where).stderr
        assert "it has this package already" in again
        assert "bytes" not in again
        listed = drupelet("list", *where).stdout
        assert "digits 2.0.0 release 2 active: ort-fp32" in listed
        assert "digits 1.0.0 release 1 previous: ort-fp32" in listed
        differences = drupelet("diff", "digits", *where, status=1).stdout
        assert f"before  digits 1.0.0 (release 1), {site.topics.device}, previous" in differences
        assert f"after   digits 2.0.0 (release 2), {site.topics.device}, active" in differences
        assert "[invalid_value]" in drupelet("diff", "faces", *where, status=2).stderr
        assert "digits 1.0.0 release 1 is active again" in drupelet("rollback", "digits", *where).stdout
        assert "digits 2.0.0 release 2 is active" in drupelet("activate", "digits", *where).stdout
        assert "digits is removed from" in drupelet("remove", "digits", *where).stdout
        assert "digits: removed; releases older than 2 are refused" in drupelet("list", *where).stdout
        refused = drupelet("rollback", "digits", *where, status=1)
        assert "[remote_error]" in refused.stderr
        assert "not_installed: model 'digits' is not installed" in refused.stderr
        (outcome,) = json.loads(drupelet("remove", "digits", *where, "--json", status=1).stdout)
        assert (outcome["ok"], outcome["code"]) == (False, "not_installed")
    assert list((site.folder / "state/incoming").iterdir()) == []


def test_a_command_goes_to_several_devices_and_fails_where_one_does(tmp_path: Path, embedded: Broker) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    sites = [make_site(folder) for folder in folders]
    package = make_package(tmp_path, sites[0].keys)
    where = [word for site in sites for word in ("--device", site.topics.device)]
    with running_agent(sites[0].configure(embedded)), running_agent(sites[1].configure(embedded)):
        pushed = drupelet("push", str(package), *where, "--broker", embedded.url, "--json", status=1)
        outcomes = json.loads(pushed.stdout)
        assert [outcome["ok"] for outcome in outcomes] == [True, False]
        assert outcomes[0]["result"]["digest"] == Store(tmp_path / "one/state").require_active("digits").digest
        assert outcomes[1]["code"] == "signature_untrusted"
        everyone = json.loads(drupelet("list", "--all", "--broker", embedded.url, "--json").stdout)
        assert {site.topics.device for site in sites} <= {outcome["device"] for outcome in everyone}
        by_default = json.loads(drupelet("list", "--broker", embedded.url, "--json").stdout)
        assert [outcome["device"] for outcome in by_default] == [outcome["device"] for outcome in everyone]
    changing = drupelet("rollback", "digits", "--broker", embedded.url, status=2)
    assert "name the devices: --device NAME" in changing.stderr


def test_devices_are_chosen_by_the_labels_of_their_configuration_also_when_they_are_offline(
    site: Site, embedded: Broker
) -> None:
    where = ("--broker", embedded.url, "--json")
    label = f"site={site.topics.device}"
    with running_agent(site.configure(embedded, extra=f'labels = {{ site = "{site.topics.device}", board = "pi4" }}')):
        (online,) = json.loads(drupelet("list", "--label", label, "--label", "board=pi4", *where).stdout)
        assert (online["device"], online["ok"]) == (site.topics.device, True)
        missed = drupelet("list", "--label", label, "--label", "board=pi5", *where, status=1).stderr
        assert f"with the labels {label}, board=pi5 is online" in missed
        assert missed.rstrip().endswith("[device_offline]")
    (offline,) = json.loads(drupelet("status", "--label", label, *where).stdout)
    assert offline["result"]["status"]["state"] == "offline"
    assert "labels board=pi4 site=" in drupelet("status", "--label", label, "--broker", embedded.url).stdout
    assert "label 'berlin': expected NAME=VALUE" in drupelet("list", "--label", "berlin", *where, status=2).stderr


@pytest.mark.mosquitto
@pytest.mark.usefixtures("mosquitto")
@pytest.mark.parametrize("setting", ["message_size_limit 20000", "max_packet_size 20000"])
def test_a_push_fits_its_chunks_into_what_the_broker_takes(site: Site, tmp_path: Path, setting: str) -> None:
    package = make_package(site.folder, site.keys, model=wide_model(megabytes=1))
    with mosquitto_broker(tmp_path, settings=[setting]) as small, running_agent(site.configure(small)):
        pushed = drupelet("push", str(package), "--device", site.topics.device, "--broker", small.url)
    assert "is active on" in pushed.stdout


@pytest.mark.mosquitto
@pytest.mark.usefixtures("mosquitto")
def test_a_push_through_a_broker_that_takes_no_chunk_at_all_ends_with_what_to_change(
    site: Site, tmp_path: Path
) -> None:
    package = make_package(site.folder, site.keys)
    with (
        mosquitto_broker(tmp_path, settings=["message_size_limit 900"]) as small,
        running_agent(site.configure(small)),
        control(small) as client,
        pytest.raises(ReplyTimeoutError, match="mosquitto: message_size_limit"),
    ):
        send(client, site, measure_file(package))


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_package_of_12_mb_arrives_whole_over_a_link_that_drops_every_5_seconds(site: Site, embedded: Broker) -> None:
    package = make_package(site.folder, site.keys, model=wide_model(megabytes=14))
    assert 12e6 < package.stat().st_size < 15e6
    with proxy(embedded) as between:
        # About 400 kB/s, so that the link drops several times on the way.
        between.chunk_bytes, between.delay_s = 16_384, 0.04
        with running_agent(site.configure(between.broker)), repeating(between.cut, every_s=5.0):
            drupelet("push", str(package), "--device", site.topics.device, "--broker", embedded.url)
        assert between.cuts >= 4
    active = Store(site.folder / "state").require_active("digits")
    assert (site.folder / "state/packages" / active.digest).is_dir()


def control(broker: Broker) -> ControlClient:
    return ControlClient(broker=BrokerAddress(broker.host, broker.port))


def send(client: ControlClient, site: Site, file: PackageFile) -> list[int]:
    """Upload a file; what the device had received, each time it said so."""
    received: list[int] = []
    topic = client.topics(site.topics.device).upload(file.digest)
    upload(client, site.topics.device, file, topic=topic, on_bytes=lambda done, _: received.append(done))
    return received


def test_an_upload_goes_on_where_it_was_when_the_agent_was_killed(site: Site, broker: Broker) -> None:
    path = site.folder / "file.bin"
    path.write_bytes(os.urandom(3_000_000))
    file, config = measure_file(path), site.configure(broker)

    class EnoughError(Exception):
        pass

    def stop_half_way(done: int, _: int) -> None:
        if done > 1_000_000:
            raise EnoughError

    topic = site.topics.upload(file.digest)
    with control(broker) as client:
        with running_agent(config), pytest.raises(EnoughError):
            upload(client, site.topics.device, file, topic=topic, on_bytes=stop_half_way)
        with running_agent(config):
            received = send(client, site, file)
    assert received[0] > 1_000_000
    assert received[-1] == file.size_bytes
    whole = site.folder / f"state/incoming/{file.digest}.drupe"
    assert hashlib.sha256(whole.read_bytes()).hexdigest() == file.digest


def test_an_upload_that_is_damaged_is_thrown_away_and_one_that_is_no_package_too(site: Site, embedded: Broker) -> None:
    path = site.folder / "file.bin"
    path.write_bytes(b"no package" * 1000)
    true = measure_file(path)
    with running_agent(site.configure(embedded)), control(embedded) as client:
        for file, code in (
            (PackageFile(path, "0" * 64, true.size_bytes), "upload_digest_mismatch"),
            (true, "archive_invalid"),
        ):
            send(client, site, file)
            request = InstallRequest(source=f"upload:{file.digest}")
            for expected in (code, "unknown_upload"):
                with pytest.raises(RemoteError) as caught:
                    client.command(site.topics.device, "install", request, InstalledRelease)
                assert caught.value.device_code == expected
    assert list((site.folder / "state/incoming").iterdir()) == []


def test_an_upload_beyond_the_limits_is_refused_with_its_code_and_takes_no_room(site: Site, embedded: Broker) -> None:
    path = site.folder / "file.bin"
    path.write_bytes(bytes(200_000))
    config = site.configure(embedded, extra='delivery.max_package = "100kB"')
    with running_agent(config), control(embedded) as client:
        with pytest.raises(RemoteError, match=r"200\.0 KB: the limit is 100\.0 KB") as caught:
            send(client, site, measure_file(path))
        assert caught.value.device_code == "package_too_large"
    assert not (site.folder / "state/incoming").exists()


def test_messages_that_are_no_chunks_are_answered_with_what_is_wrong(site: Site, embedded: Broker) -> None:
    topic = site.topics.upload("0" * 64)
    with running_agent(site.configure(embedded)), control(embedded) as client:
        for payload, properties in (
            (b"x", ()),
            (b"x", (("Upload-Length", "9"),)),
            (b"", (("Upload-Length", "9"), ("Upload-Offset", "0"))),
            (b"x", (("Upload-Length", "-9"), ("Upload-Offset", "0"))),
            (b"x", (("Upload-Length", "9" * 30), ("Upload-Offset", "0"))),
            (b"xx", (("Upload-Length", "1"), ("Upload-Offset", "0"))),
            (b"x", (("Upload-Length", "9"), ("Upload-Offset", "9"))),
        ):
            with client.call(site.topics.device, "upload") as (call, send_message):
                send_message(topic, payload, properties or (("other", "property"),))
                with pytest.raises(RemoteError) as caught:
                    call.next(timeout_s=20)
            assert caught.value.device_code == "invalid_upload", properties
