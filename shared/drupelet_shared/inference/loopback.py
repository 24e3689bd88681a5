"""A session behind the request codec: what is computed on the host goes the way that a request goes on the device."""

from __future__ import annotations

from collections.abc import Sequence

from drupelet_shared.engines.base import Array, Session, Tensors
from drupelet_shared.inference.checks import check_inputs
from drupelet_shared.inference.reply import decode_reply, encode_reply
from drupelet_shared.inference.request import decode_request, encode_request
from drupelet_shared.inference.values import Encoded, InferenceReply, InferenceRequest, RequestedOutput
from drupelet_shared.tensors import TensorSpec


class LoopbackSession:
    """Encodes and decodes inputs and outputs around a session, as client and device do with binary tensors."""

    def __init__(self, session: Session) -> None:
        """Wrap a session.

        Args:
            session: The loaded model.
        """
        self._session = session

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs of the session."""
        return self._session.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs of the session."""
        return self._session.outputs

    def run(self, inputs: Tensors, outputs: Sequence[str]) -> dict[str, Array]:
        """Compute the named outputs as the device does for a request; see `Session.run`.

        Raises:
            RequestError: The device would refuse the request, or its engine fails.
        """
        requested = tuple(RequestedOutput(name=name, binary=True) for name in outputs)
        sent = encode_request(InferenceRequest(inputs=dict(inputs), outputs=requested), binary=True)
        request = decode_request(
            memoryview(sent.payload), content_type=sent.content_type, header_length=sent.header_length
        )
        check_inputs(request.inputs, self._session.inputs)
        answer = self._session.run(request.inputs, [output.name for output in request.outputs or ()])
        return _receive(encode_reply(InferenceReply(model_name="loopback", outputs=answer), request))


def _receive(sent: Encoded) -> dict[str, Array]:
    reply = decode_reply(memoryview(sent.payload), content_type=sent.content_type, header_length=sent.header_length)
    return dict(reply.outputs)
