"""`drupelet rollout` to real agents: a version that is good, one that they refuse, and the history of both."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from drupelet_agent.store.store import Store
from support.agent.agents import running_agent
from support.agent.commands import drupelet
from support.agent.sites import Site, make_site
from support.broker.brokers import Broker
from support.package.served_packages import make_keys, make_package

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def active(site: Site) -> str:
    return Store(site.folder / "state").require_active("digits").version


def test_real_devices_get_a_version_wave_by_wave_and_a_refused_one_leaves_them_as_they_were(
    tmp_path: Path, mosquitto: Broker
) -> None:
    sites = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        sites.append(make_site(tmp_path / name))
        (sites[-1].folder / "trust/maker.pub").write_bytes(sites[0].keys.public.read_bytes())
    label = f"site={sites[0].topics.device}"
    extra = f'labels = {{ site = "{sites[0].topics.device}" }}'
    where = ("--broker", mosquitto.url, "--label", label, "--state", str(tmp_path / "rollouts"))
    with ExitStack() as stack:
        for site in sites:
            config = site.configure(mosquitto, extra=extra)
            Site(site.folder, sites[0].keys, site.topics).install(config, release=1)
            heard = stack.enter_context(site.listener(mosquitto))
            # Two agents start and measure on what may be one core.
            heard.patience_s = 100.0
            stack.enter_context(running_agent(config))
            heard.wait_for(site.topics.model_state("digits"), health="ready")

        def roll_out(release: int, package: Path, *words: str, status: int = 0) -> dict[str, object]:
            version = ("--version", f"{release}.0.0", "--source", package.as_uri())
            speed = ("--waves", "1,100%", "--healthy-for", "1")
            done = drupelet("rollout", "digits", *version, *speed, *where, "--json", *words, status=status)
            return dict(json.loads(done.stdout))

        good = make_package(tmp_path, sites[0].keys, release=2)
        plan = roll_out(2, good, "--plan")
        assert [wave["until"] for wave in plan["waves"]] == [1, 2]  # type: ignore[attr-defined] # JSON
        assert [active(site) for site in sites] == ["1.0.0"] * 2

        done = roll_out(2, good, "--key", str(sites[0].keys.private))
        assert done["record"]["phase"] == "completed"  # type: ignore[index] # JSON
        assert [active(site) for site in sites] == ["2.0.0"] * 2

        refused = roll_out(3, make_package(tmp_path, make_keys(tmp_path, "stranger"), release=3), status=4)
        (device,) = refused["devices"].values()  # type: ignore[attr-defined] # JSON
        assert device["code"] == "signature_untrusted"
        assert [active(site) for site in sites] == ["2.0.0"] * 2

    trust = ("--trust", str(sites[0].folder / "trust"))
    history = json.loads(drupelet("rollout", "--history", "--broker", mosquitto.url, *trust, "--json").stdout)
    ours = [one for one in history if label in one["selection"]]
    assert [(one["version"], one["phase"], one["signature"]["state"]) for one in ours] == [
        ("2.0.0", "completed", "valid"),
        ("3.0.0", "stopped", "unsigned"),
    ]
    assert "name one: a MODEL" in drupelet("rollout", "--broker", mosquitto.url, status=2).stderr
    missing = drupelet("rollout", "--resume", "20200101T000000-abcdef", *where, status=1).stderr
    assert "neither" in missing
    assert "drupelet rollout --resume" not in missing

    elsewhere = ("--broker", mosquitto.url, "--state", str(tmp_path / "elsewhere"))
    forged = drupelet("rollout", "--resume", ours[1]["id"], *trust, *elsewhere, status=1).stderr
    assert "the signature of its record" in forged
    assert "is unsigned" in forged
