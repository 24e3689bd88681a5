"""Inference on whichever device of a pool is free."""

from __future__ import annotations

from drupelet_host.client.connection.address import BrokerAddress
from drupelet_host.client.connection.connection import Connection
from drupelet_host.client.connection.transport import TransportFactory
from drupelet_host.client.inference.base import DEFAULT_CONNECT_TIMEOUT_S, InferenceClient, RetryPolicy
from drupelet_shared.contract.topics import DEFAULT_PREFIX, PoolTopics
from drupelet_shared.errors import OverloadedError

DEFAULT_RETRY_AFTER_S = 2.0


class PoolClient(InferenceClient):
    """Inference on the models of a pool, as a context manager; safe to use from several threads.

    A request that no member has answered is sent again, as is one that met a full queue: the member that had it may be
    gone, or another may be free. Two members may then answer; the first reply counts.

    For example::

        with PoolClient("door", broker=BrokerAddress("broker.local")) as client:
            reply = client.infer("resnet18", {"input": array}, timeout_s=10)
    """

    def __init__(
        self,
        pool: str,
        *,
        broker: BrokerAddress,
        prefix: str = DEFAULT_PREFIX,
        connect_timeout_s: float = DEFAULT_CONNECT_TIMEOUT_S,
        retry_after_s: float = DEFAULT_RETRY_AFTER_S,
        transport_factory: TransportFactory = Connection,
    ) -> None:
        """Make a client that is not connected yet.

        Args:
            pool: The pool's name.
            broker: The broker's address.
            prefix: The first levels of the topics.
            connect_timeout_s: The limit for connecting to the broker.
            retry_after_s: The time without a reply after which a request is sent again; the interval then doubles.
            transport_factory: Makes the connection to the broker.

        Raises:
            InvalidValueError: The pool's name is malformed, or a certificate file cannot be read.
        """
        super().__init__(
            target=f"pool {pool!r}",
            topics=PoolTopics(pool, prefix=prefix),
            transport=transport_factory(broker),
            prefix=prefix,
            connect_timeout_s=connect_timeout_s,
            retry=RetryPolicy(after_s=retry_after_s, ignored_codes=frozenset({OverloadedError.code})),
        )
