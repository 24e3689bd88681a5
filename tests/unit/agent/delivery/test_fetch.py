"""Files over HTTPS from a server that breaks off, changes them, redirects and refuses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from drupelet_agent.config.packages import DeliveryConfig
from drupelet_agent.delivery.fetch import fetch
from drupelet_agent.errors import PackageTooLargeError, StoreFullError
from drupelet_shared.errors import SourceError
from support.broker.certificates import Authority
from support.package.file_server import FileServer, connect_proxy, file_server

CONTENT = os.urandom(1_500_000)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with file_server(tmp_path) as found:
        found.behaviour.files["/file.drupe"] = CONTENT
        yield found


def download(server: FileServer, folder: Path, *, path: str = "/file.drupe", **limits: int) -> bytes:
    config = DeliveryConfig(ca_file=server.ca_file, **{"max_package": 10**9, "reserve": 1, **limits})
    partial = fetch(server.url + path, folder / "fetched", config, on_bytes=lambda _done, _total: None)
    found = partial.path.read_bytes()
    partial.discard()
    assert list((folder / "fetched").iterdir()) == []
    return found


def test_a_file_is_fetched(server: FileServer, tmp_path: Path) -> None:
    assert download(server, tmp_path) == CONTENT
    assert server.behaviour.requests == [("/file.drupe", None)]


def test_a_download_goes_on_where_the_connection_broke(server: FileServer, tmp_path: Path) -> None:
    server.behaviour.cuts, server.behaviour.cut_after = 3, 400_000
    assert download(server, tmp_path) == CONTENT
    starts = [int(asked[len("bytes=") : -1]) for _, asked in server.behaviour.requests if asked]
    assert len(server.behaviour.requests) == 4
    assert starts == sorted(set(starts))


def test_a_file_that_changes_meanwhile_is_fetched_from_its_beginning(server: FileServer, tmp_path: Path) -> None:
    folder = tmp_path / "fetched"
    config = DeliveryConfig(ca_file=server.ca_file, reserve=1)

    def change(done: int, _: int | None) -> None:
        if 0 < done < len(CONTENT):
            server.behaviour.files["/file.drupe"] = CONTENT[::-1]

    server.behaviour.cuts, server.behaviour.cut_after = 1, 400_000
    partial = fetch(f"{server.url}/file.drupe", folder, config, on_bytes=change)
    assert partial.path.read_bytes() == CONTENT[::-1]


def test_a_server_that_knows_no_ranges_is_asked_again_from_the_beginning(server: FileServer, tmp_path: Path) -> None:
    server.behaviour.knows_ranges = False
    server.behaviour.cuts, server.behaviour.cut_after = 1, 400_000
    assert download(server, tmp_path) == CONTENT


def test_a_server_that_does_not_say_how_long_a_file_is_is_held_to_the_limit(server: FileServer, tmp_path: Path) -> None:
    server.behaviour.has_length = False
    assert download(server, tmp_path) == CONTENT
    with pytest.raises(PackageTooLargeError, match=r"the limit is 1\.0 MB"):
        download(server, tmp_path, max_package=1_000_000)


def test_a_server_that_is_busy_is_asked_again_and_one_that_refuses_is_not(server: FileServer, tmp_path: Path) -> None:
    server.behaviour.statuses = [503, 429]
    assert download(server, tmp_path) == CONTENT
    with pytest.raises(SourceError, match="the server answers 404"):
        download(server, tmp_path, path="/absent?token=secret")
    server.behaviour.statuses = [403]
    with pytest.raises(SourceError, match="the server answers 403"):
        download(server, tmp_path)


def test_a_token_in_a_url_is_not_told(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        download(server, tmp_path, path="/absent?token=secret")
    assert "secret" not in str(caught.value)


def test_a_file_that_is_too_large_or_has_no_room_is_refused_before_its_body(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(PackageTooLargeError, match=r"has 1\.5 MB: the limit is 1\.0 MB"):
        download(server, tmp_path, max_package=1_000_000)
    with pytest.raises(StoreFullError, match=r"needs 1\.5 MB: .* are free"):
        download(server, tmp_path, reserve=2**60)


def test_redirects_are_followed_a_few_times_and_never_away_from_https(server: FileServer, tmp_path: Path) -> None:
    server.behaviour.redirects = {"/latest": "/a", "/a": "/file.drupe", "/plain": "http://127.0.0.1:1/file.drupe"}
    server.behaviour.redirects |= {f"/{number}": f"/{number + 1}" for number in range(10)}
    assert download(server, tmp_path, path="/latest") == CONTENT
    with pytest.raises(SourceError, match="which is not https"):
        download(server, tmp_path, path="/plain")
    with pytest.raises(SourceError, match="the server answers 302"):
        download(server, tmp_path, path="/0")


def test_a_server_whose_certificate_nobody_trusted_signed_gets_no_request(server: FileServer, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, name="stranger")
    with pytest.raises(SourceError, match=r"unable to get local issuer certificate|self-signed|signature failure"):
        download(FileServer(server.url, stranger.ca_file, server.behaviour), tmp_path)
    assert server.behaviour.requests == []


def test_a_proxy_of_the_environment_is_used(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect_proxy() as (url, asked):
        monkeypatch.setenv("https_proxy", url)
        assert download(server, tmp_path) == CONTENT
    assert asked == [server.url.removeprefix("https://")]


def test_a_server_that_is_gone_is_tried_a_few_times_and_what_came_is_kept(server: FileServer, tmp_path: Path) -> None:
    config, folder, told = DeliveryConfig(ca_file=server.ca_file, reserve=1), tmp_path / "fetched", server.behaviour
    told.cuts, told.cut_after = 1, 400_000
    url = f"{server.url}/file.drupe"

    def end(_: int, __: int | None) -> None:
        told.statuses = [503] * 50

    with pytest.raises(SourceError, match="5 times in a row"):
        fetch(url, folder, config, on_bytes=end, first_pause_s=0.01)
    (kept,) = folder.glob("*.part")
    before = kept.stat().st_size
    assert before > 0
    told.statuses = []
    partial = fetch(url, folder, config, on_bytes=lambda _done, _total: None)
    assert partial.path.read_bytes() == CONTENT
    assert told.requests[-1] == ("/file.drupe", f"bytes={before}-")
