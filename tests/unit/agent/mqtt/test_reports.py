"""What is wrong with a connection: the current problem, and each kind passed on once."""

from __future__ import annotations

from drupelet_agent.mqtt.reports import ProblemReports
from drupelet_agent.mqtt.status import ConnectionEvent
from drupelet_agent.mqtt.status import ConnectionProblem as Problem


def test_each_kind_of_problem_is_passed_on_once_until_a_connection_has_lasted() -> None:
    events: list[ConnectionEvent] = []
    reports = ProblemReports(events.append)
    reports.report(Problem.CLOSED, "one")
    reports.report(Problem.CLOSED, "two")
    reports.report(Problem.UNREACHABLE, "three")
    reports.connected()
    reports.report(Problem.CLOSED, "four")
    assert [event.message for event in events] == ["one", "three"]
    reports.lasted()
    reports.report(Problem.CLOSED, "five")
    assert events[-1] == ConnectionEvent(Problem.CLOSED, "five")


def test_the_current_problem_is_the_last_one_until_a_connection_is_accepted() -> None:
    reports = ProblemReports(None)
    assert (reports.problem, reports.explanation) == (None, "no connection was tried yet")
    reports.report(Problem.CLOSED, "one")
    reports.report(Problem.CLOSED, "two")
    assert (reports.problem, reports.explanation) == (Problem.CLOSED, "two")
    reports.connected()
    assert (reports.problem, reports.explanation) == (None, "")


def test_each_dropped_publication_is_passed_on_and_is_no_problem_of_the_connection() -> None:
    events: list[ConnectionEvent] = []
    reports = ProblemReports(events.append)
    reports.connected()
    reports.report(Problem.PUBLICATION_DROPPED, "one")
    reports.report(Problem.PUBLICATION_DROPPED, "two")
    assert [event.message for event in events] == ["one", "two"]
    assert reports.problem is None
