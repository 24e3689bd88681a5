"""A package file from its source: what is refused, and what is removed afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.delivery.sources import obtained
from drupelet_agent.delivery.spool import Spool
from drupelet_agent.errors import (
    PackageTooLargeError,
    StoreBusyError,
    UnknownUploadError,
    UploadDigestError,
    WrongPackageError,
)
from drupelet_agent.store.layout import StoreLayout
from drupelet_shared.errors import ArchiveError, SourceError
from support.agent.fleet_bench import make_config

DATA = b"a package"
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def config(tmp_path: Path) -> AgentConfig:
    return make_config(tmp_path, delivery={"max_package": "100 B", "reserve": "1 B"})


def read(source: str, config: AgentConfig, *, then: Callable[[], None] = lambda: None) -> bytes:
    with obtained(source, config, on_bytes=lambda _done, _total: None) as path:
        content = path.read_bytes()
        then()
        return content


def fail(error: Exception) -> Callable[[], None]:
    def then() -> None:
        raise error

    return then


class TestUpload:
    @pytest.fixture
    def spool(self, config: AgentConfig) -> Spool:
        return Spool(StoreLayout(config.state_dir).incoming, config.delivery)

    def test_a_whole_upload_is_given_and_removed_afterwards(self, spool: Spool, config: AgentConfig) -> None:
        spool.append(DIGEST, len(DATA), offset=0, chunk=DATA)
        assert read(f"upload:{DIGEST}", config) == DATA
        assert not spool.whole(DIGEST).exists()

    @pytest.mark.parametrize("received", [0, 4])
    def test_an_upload_that_is_not_whole_is_unknown(self, spool: Spool, config: AgentConfig, received: int) -> None:
        spool.append(DIGEST, len(DATA), offset=0, chunk=DATA[:received])
        with pytest.raises(UnknownUploadError, match=f"upload {DIGEST[:12]}: not received completely"):
            read(f"upload:{DIGEST}", config)

    def test_bytes_of_another_digest_are_removed_and_both_are_named(self, spool: Spool, config: AgentConfig) -> None:
        other = hashlib.sha256(b"damaged!!").hexdigest()
        spool.append(DIGEST, len(DATA), offset=0, chunk=b"damaged!!")
        with pytest.raises(UploadDigestError, match=f"upload {DIGEST[:12]}: .* SHA-256 {other}"):
            read(f"upload:{DIGEST}", config)
        assert not spool.whole(DIGEST).exists()

    @pytest.mark.parametrize("error", [ArchiveError("damaged"), WrongPackageError("another model")])
    def test_a_package_that_can_never_be_installed_is_removed(
        self, spool: Spool, config: AgentConfig, error: Exception
    ) -> None:
        spool.append(DIGEST, len(DATA), offset=0, chunk=DATA)
        with pytest.raises(type(error)):
            read(f"upload:{DIGEST}", config, then=fail(error))
        assert not spool.whole(DIGEST).exists()

    def test_a_package_that_could_not_be_installed_now_is_kept(self, spool: Spool, config: AgentConfig) -> None:
        spool.append(DIGEST, len(DATA), offset=0, chunk=DATA)
        with pytest.raises(StoreBusyError):
            read(f"upload:{DIGEST}", config, then=fail(StoreBusyError("busy")))
        assert read(f"upload:{DIGEST}", config) == DATA


class TestFile:
    def test_a_file_of_the_device_is_given_and_kept(self, tmp_path: Path, config: AgentConfig) -> None:
        path = tmp_path / "my package"
        path.write_bytes(DATA)
        assert read(f"file://{str(path).replace(' ', '%20')}", config) == DATA
        assert path.exists()

    def test_a_file_that_is_refused_is_kept(self, tmp_path: Path, config: AgentConfig) -> None:
        path = tmp_path / "package"
        path.write_bytes(DATA)
        with pytest.raises(ArchiveError):
            read(path.as_uri(), config, then=fail(ArchiveError("damaged")))
        assert path.exists()

    def test_a_file_at_the_limit_is_accepted_and_one_above_is_not(self, tmp_path: Path, config: AgentConfig) -> None:
        path = tmp_path / "package"
        path.write_bytes(bytes(100))
        assert read(path.as_uri(), config) == bytes(100)
        path.write_bytes(bytes(101))
        with pytest.raises(PackageTooLargeError, match="has 101 B: the limit is 100 B"):
            read(path.as_uri(), config)

    def test_what_is_no_regular_file_is_refused(self, tmp_path: Path, config: AgentConfig) -> None:
        with pytest.raises(SourceError, match="not a regular file"):
            read(tmp_path.as_uri(), config)

    def test_a_file_that_does_not_exist_is_refused(self, tmp_path: Path, config: AgentConfig) -> None:
        with pytest.raises(SourceError, match="missing: No such file"):
            read((tmp_path / "missing").as_uri(), config)

    def test_a_path_that_cannot_exist_is_refused(self, config: AgentConfig) -> None:
        with pytest.raises(SourceError, match="null"):
            read("file:///%00", config)
