"""One of many clients: sends its requests with several in flight and accounts for every reply."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.child import READY, BenchmarkError
from benchmarks.requester import Reply, Requester
from benchmarks.spine_model import HEAD, HEAD_VALUES, encode_values
from drupelet_shared.contract.wire import OK_CODE

_VALUES = 200
# How long a second reply to an answered request is looked for.
_LINGER_S = 1.0


@dataclass(slots=True)
class Sent:
    """A request that is out: when it left, and the bytes that its answer must hold."""

    at_s: float
    expected: bytes


@dataclass(slots=True)
class Burst:
    """The requests of one client, and where they stand."""

    requester: Requester
    topic: str
    number: int
    sent: dict[bytes, Sent] = field(default_factory=dict)

    def run(self, *, requests: int, in_flight: int, timeout_s: float) -> None:
        """Send everything, then wait for what is still out and for what should not come."""
        replies = self.requester.replies
        # A request without a reply in time is counted as missing, and is no reason to stop.
        with suppress(BenchmarkError):
            for index in range(requests):
                self.requester.run_until(
                    lambda: len(self.sent) - len(replies) < in_flight, what="get on", timeout_s=timeout_s
                )
                self._send(index)
            self.requester.run_until(lambda: len(replies) == requests, what="get all replies", timeout_s=timeout_s)
        with suppress(BenchmarkError):
            self.requester.run_until(lambda: False, what="see more", timeout_s=_LINGER_S)

    def report(self, *, requests: int) -> dict[str, Any]:
        """Return the counts, and the times on the machine's monotonic clock."""
        firsts = {correlation: replies[0] for correlation, replies in self.requester.replies.items()}
        codes = Counter(str(reply.code) for reply in firsts.values())
        answered = codes.pop(OK_CODE, 0)
        return {
            "answered": answered,
            "refused": codes,
            "missing": requests - len(firsts),
            "repeated": sum(len(replies) - 1 for replies in self.requester.replies.values()),
            "mistaken": sum(self._is_mistaken(correlation, reply) for correlation, reply in firsts.items()),
            "first_s": min(sent.at_s for sent in self.sent.values()),
            "last_s": max((reply.received_s for reply in firsts.values()), default=time.monotonic()),
            "latencies_ms": [(reply.received_s - self.sent[key].at_s) * 1e3 for key, reply in firsts.items()],
        }

    def _send(self, index: int) -> None:
        # Values of its own for each request of each client: an answer to another one is found out.
        values = np.arange(_VALUES, dtype=np.float32) + np.float32(1000 * self.number + index)
        body = encode_values(values, output=HEAD)
        at_s = time.monotonic()
        correlation = self.requester.send(self.topic, body)
        self.sent[correlation] = Sent(at_s=at_s, expected=values[:HEAD_VALUES].tobytes())

    def _is_mistaken(self, correlation: bytes, reply: Reply) -> bool:
        return reply.code == OK_CODE and reply.payload[reply.header_length :] != self.sent[correlation].expected


def main() -> None:
    """Connect, say ready, wait for a line, and print the report; the one argument is the client's part as JSON."""
    spec = json.loads(sys.argv[1])
    with Requester(spec["host"], spec["port"], name=f"burst-{spec['number']}") as requester:
        burst = Burst(requester=requester, topic=spec["topic"], number=spec["number"])
        print(READY, flush=True)
        sys.stdin.readline()
        burst.run(requests=spec["requests"], in_flight=spec["in_flight"], timeout_s=spec["timeout_s"])
        print(json.dumps(burst.report(requests=spec["requests"])), flush=True)


if __name__ == "__main__":
    main()
