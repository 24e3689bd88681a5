"""Inference on whichever device of a pool is free."""

from __future__ import annotations

from drupelet_host.client.connection.address import BrokerAddress
from drupelet_host.client.inference.device import DeviceClient
from drupelet_host.errors import RemoteError
from drupelet_shared.contract.messages import ModelState
from drupelet_shared.contract.topics import DEFAULT_PREFIX, PoolTopics
from drupelet_shared.errors import OverloadedError

DEFAULT_AGAIN_AFTER_S = 2.0


class PoolClient(DeviceClient):
    """A pool's models, as a `DeviceClient` has a device's.

    A request that no member has answered goes out again, as one that met a full queue does: the member that had it may
    be gone, or another have room. Two may then answer, of which the first counts.

    Example:
        with PoolClient("door", broker=BrokerAddress("broker.local")) as client:
            reply = client.infer("resnet18", {"input": array}, timeout_s=10)
    """

    def __init__(
        self,
        pool: str,
        *,
        broker: BrokerAddress,
        prefix: str = DEFAULT_PREFIX,
        connect_timeout_s: float = 10.0,
        again_after_s: float = DEFAULT_AGAIN_AFTER_S,
    ) -> None:
        """Make a client.

        Args:
            pool: The pool's name.
            broker: Where the broker is.
            prefix: First levels of the topics.
            connect_timeout_s: How long to wait for the broker.
            again_after_s: How long to wait for an answer before the request goes out again; then twice that, and so on.
        """
        super().__init__(pool, broker=broker, prefix=prefix, connect_timeout_s=connect_timeout_s)
        self._pool = PoolTopics(pool, prefix=prefix)
        self._whom = f"pool {pool!r}"
        self._again_after_s = again_after_s
        self._tried_again = frozenset({OverloadedError.code})

    def model_state(self, model: str, *, timeout_s: float = 5.0) -> ModelState:  # noqa: ARG002 - the signature is inherited
        """A pool announces no states.

        Raises:
            RemoteError: Always.
        """
        raise RemoteError(f"{self._whom}, model {model!r}: its members announce their states, the pool has none")

    def _infer_topic(self, model: str, version: str | None) -> str:
        return self._pool.infer(model, version)
