"""The source of a package: what is refused before anything opens it, and what may be shown of it."""

from __future__ import annotations

import pytest

from drupelet_shared.contract.delivery import DesiredState
from drupelet_shared.contract.sources import check_source, shown_source
from drupelet_shared.errors import SourceError


@pytest.mark.parametrize(
    "source",
    [
        f"upload:{'a' * 64}",
        "file:///home/pi/Modèle%201.drupe",
        "https://host/x?token=a@b",
        "https://192.0.2.1:8443/x",
        "https://[2001:db8::1]:8443/x",
        "https://xn--bcher-kva.example./x",
    ],
)
def test_a_source_that_can_be_opened_is_accepted(source: str) -> None:
    assert check_source(source) == source


@pytest.mark.parametrize(
    "source",
    [
        "https://[::1/x",
        "https://a]b/x",
        "https://h\uff4fst/x",
        "https://h\u2100st/x",
        "https://a..b/x",
        f"https://{'a' * 64}/x",
        "https:///x",
        "https://host:99999/x",
        "https://host:1x/x",
        "https://[::1]x/x",
        "https://[fe80::1%25eth0]/x",
        "https://[fe80::1%eth0]/x",
        "https://host\x00/x",
        "file:///%00x",
        "file:///\x01x",
    ],
)
def test_a_malformed_source_is_refused_with_one_code(source: str) -> None:
    with pytest.raises(SourceError) as caught:
        DesiredState(version="1.0.0", source=source)
    assert caught.value.code == "source_error"
    assert source not in str(caught.value)


@pytest.mark.parametrize("userinfo", ["user:secret", "peter", "secret%40host", "user:sec]ret", "user:s\u2100cret"])
def test_a_user_name_or_password_is_refused_and_not_repeated(userinfo: str) -> None:
    with pytest.raises(SourceError) as caught:
        check_source(f"https://{userinfo}@host/x")
    assert userinfo not in str(caught.value)
    assert caught.value.__cause__ is None


def test_what_is_shown_of_a_source_holds_no_secret() -> None:
    assert shown_source("https://user:se@cret@host/x/y?token=1#f") == "https://host/x/y"
    assert shown_source("https://host?token=1") == "https://host"
    assert shown_source("file:///a/b@c") == "file:///a/b@c"
    assert shown_source("upload:abc") == "upload:abc"
