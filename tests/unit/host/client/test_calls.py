from __future__ import annotations

import threading

import pytest

from drupelet_host.client.control.calls import CallAnswer, PendingCalls
from drupelet_host.errors import DeviceOfflineError, DeviceRestartedError, RemoteError, ReplyTimeoutError
from drupelet_shared.contract.messages import ErrorReply
from support.agent.fleets import birth

NOT_INSTALLED = ErrorReply(error="no such model", code="not_installed").to_bytes()


def online(calls: PendingCalls, device: str = "pi-7", *, state: str = "online", session: str = "1") -> None:
    calls.receive_status(birth(device, state=state, session=session).payload)


def test_answers_go_to_their_call_in_their_order() -> None:
    calls = PendingCalls()
    first_id, first = calls.open("pi-7", "command list")
    second_id, second = calls.open("pi-7", "command list")
    calls.receive_answer(second_id, CallAnswer("ok", b"second"))
    calls.receive_answer(first_id, CallAnswer("progress", b"1"))
    calls.receive_answer(first_id, CallAnswer("ok", b"2"))
    assert [first.next(timeout_s=0).payload for _ in range(2)] == [b"1", b"2"]
    assert second.next(timeout_s=0).payload == b"second"


def test_correlation_data_cannot_be_guessed_from_earlier_ones() -> None:
    calls = PendingCalls()
    correlations = [calls.open("pi-7", "x")[0] for _ in range(100)]
    assert len(set(correlations)) == 100
    assert {len(correlation) for correlation in correlations} == {16}
    assert len({correlation[:8] for correlation in correlations}) == 100


def test_answers_to_a_closed_call_and_to_none_are_dropped() -> None:
    calls = PendingCalls()
    correlation, call = calls.open("pi-7", "command list")
    calls.close(correlation)
    for unknown in (correlation, None, b"other"):
        calls.receive_answer(unknown, CallAnswer("ok", b""))
    with pytest.raises(ReplyTimeoutError, match=r"device 'pi-7', command list: no answer within 0 s"):
        call.next(timeout_s=0)


@pytest.mark.parametrize(("payload", "text"), [(NOT_INSTALLED, "no such model"), (b"?", "no text in 1")])
def test_an_error_of_the_device_is_raised_with_its_text_and_code(payload: bytes, text: str) -> None:
    calls = PendingCalls()
    correlation, call = calls.open("pi-7", "command remove")
    calls.receive_answer(correlation, CallAnswer("not_installed", payload))
    with pytest.raises(RemoteError, match=f"device 'pi-7' answered not_installed: {text}") as caught:
        call.next(timeout_s=0)
    assert caught.value.device_code == "not_installed"


def test_a_restart_of_the_agent_ends_the_calls_of_that_device_alone() -> None:
    calls = PendingCalls()
    online(calls, "pi-7")
    online(calls, "pi-8")
    _, restarted = calls.open("pi-7", "command install")
    other_id, other = calls.open("pi-8", "command install")
    online(calls, "pi-7", session="2")
    with pytest.raises(DeviceRestartedError, match="the agent was restarted before it answered"):
        restarted.next(timeout_s=0)
    calls.receive_answer(other_id, CallAnswer("ok", b""))
    assert other.next(timeout_s=0).code == "ok"


def test_the_same_birth_message_again_ends_no_call() -> None:
    calls = PendingCalls()
    online(calls)
    _, call = calls.open("pi-7", "command install")
    online(calls)
    with pytest.raises(ReplyTimeoutError):
        call.next(timeout_s=0)


def test_a_device_is_online_from_its_birth_message_to_its_will() -> None:
    calls = PendingCalls()
    with pytest.raises(DeviceOfflineError, match="'pi-7' has not announced itself"):
        calls.wait_until_online("pi-7", timeout_s=0)
    online(calls)
    calls.wait_until_online("pi-7", timeout_s=0)
    online(calls, state="offline")
    with pytest.raises(DeviceOfflineError, match="'pi-7' says that it is offline"):
        calls.wait_until_online("pi-7", timeout_s=0)


def test_the_will_of_an_earlier_session_changes_nothing() -> None:
    calls = PendingCalls()
    online(calls, session="2")
    online(calls, state="offline", session="1")
    calls.wait_until_online("pi-7", timeout_s=0)


def test_a_message_that_is_no_status_changes_nothing() -> None:
    calls = PendingCalls()
    calls.receive_status(b"{}")
    with pytest.raises(DeviceOfflineError):
        calls.wait_until_online("pi-7", timeout_s=0)


def test_cancelling_ends_calls_under_way_those_to_come_and_who_waits_for_a_device() -> None:
    calls = PendingCalls()
    _, call = calls.open("pi-7", "command install")
    errors: list[Exception] = []

    def wait() -> None:
        try:
            calls.wait_until_online("pi-8", timeout_s=60)
        except RemoteError as error:
            errors.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    calls.cancel()
    waiting.join(5)
    assert "the call was cancelled" in str(errors[0])
    with pytest.raises(RemoteError, match="the call was cancelled"):
        call.next(timeout_s=0)
    with pytest.raises(RemoteError, match="the call was cancelled"):
        calls.wait_until_online("pi-7", timeout_s=0)
