from __future__ import annotations

from drupelet_host.client.connection.confirmations import Confirmations


def test_the_brokers_answer_goes_to_the_handler_of_its_message() -> None:
    confirmations, answers = Confirmations(), []
    confirmations.expect(1, lambda refusal: answers.append((1, refusal)))
    confirmations.expect(2, lambda refusal: answers.append((2, refusal)))
    confirmations.resolve(2, "Quota exceeded")
    confirmations.resolve(1, None)
    assert answers == [(2, "Quota exceeded"), (1, None)]


def test_an_answer_that_comes_before_its_handler_is_handed_over_at_once() -> None:
    confirmations, answers = Confirmations(), []
    confirmations.resolve(1, "Packet too large")
    confirmations.expect(1, answers.append)
    assert answers == ["Packet too large"]


def test_an_identifier_that_is_used_again_is_another_message() -> None:
    confirmations, answers = Confirmations(), []
    for refusal in ("first", "second"):
        confirmations.expect(7, answers.append)
        confirmations.resolve(7, refusal)
    confirmations.resolve(7, "early")
    confirmations.expect(7, answers.append)
    assert answers == ["first", "second", "early"]
