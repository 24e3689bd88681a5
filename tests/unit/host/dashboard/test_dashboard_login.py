from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import Client, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from drupelet_host.dashboard.login import add_login, split_packet
from drupelet_shared.errors import InvalidValueError

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200)


def connect_packet(
    protocol: MQTTProtocolVersion, *, client_id: str = "c", username: str | None = None, password: str | None = None
) -> bytes:
    """The packet that paho would send."""
    client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol)
    if username is not None:
        client.username_pw_set(username, password)
    if protocol == MQTTv5:
        client._connect_properties = Properties(PacketTypes.CONNECT)
        client._connect_properties.SessionExpiryInterval = 7
        client._connect_properties.UserProperty = ("key", "value")
    sent: list[bytes] = []
    client._packet_queue = lambda _command, packet, _mid, _qos, _info=None: sent.append(bytes(packet))
    client._send_connect(30)
    return sent[0]


@pytest.mark.parametrize("protocol", [MQTTv311, MQTTv5])
@given(username=texts, password=st.none() | texts, client_id=st.text("abc", min_size=1, max_size=300), rest=st.binary())
def test_the_login_is_what_a_client_with_an_account_would_have_sent(
    protocol: MQTTProtocolVersion, username: str, password: str | None, client_id: str, rest: bytes
) -> None:
    bare = connect_packet(protocol, client_id=client_id)
    found = split_packet(bare + rest)
    assert found is not None
    assert found[1] == rest
    wanted = connect_packet(protocol, client_id=client_id, username=username, password=password)
    assert add_login(found[0], username=username, password=password) == wanted
    assert add_login(found[0], username=None, password=None) == bare


@given(st.integers(0, 40))
def test_a_packet_that_is_not_whole_is_waited_for(count: int) -> None:
    packet = connect_packet(MQTTv5)
    if count < len(packet):
        assert split_packet(packet[:count]) is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"GET / HTTP/1.1\r\n", "first packet 0x47: expected a CONNECT"),
        (b"\x10\xff\xff\xff\xff\x01", "its length has more than 4 bytes"),
        (b"\x10\xff\xff\xff\x7f", "CONNECT packet of 268435455 bytes: at most 65536"),
    ],
)
def test_another_first_packet_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        split_packet(data)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"\x00\x06MQIsdp\x03\x02", "expected MQTT 3.1.1 or 5"),
        (b"\x00\x04MQTT\x05", "expected MQTT 3.1.1 or 5"),
        (b"\x00\x04MQTT\x05\x80\x00\x1e", "it has a will or an account already"),
        (b"\x00\x04MQTT\x05\x06\x00\x1e", "it has a will or an account already"),
    ],
)
def test_a_connect_that_cannot_take_a_login_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        add_login(body, username="anna", password="secret")
