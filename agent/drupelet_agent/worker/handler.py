"""One request from bytes to bytes: decode, check, infer, encode."""

from __future__ import annotations

import time
from dataclasses import dataclass

from drupelet_shared.contract.wire import JPEG_TYPE, JSON_TYPE, PNG_TYPE, parse_content_type, sniff_content_type
from drupelet_shared.engines.base import Array, Session
from drupelet_shared.errors import ImageError, InputNameError, RequestError
from drupelet_shared.inference import (
    MAX_VALUES,
    Encoded,
    InferenceReply,
    InferenceRequest,
    check_inputs,
    decode_request,
    encode_reply,
)
from drupelet_shared.inference.images import prepare_image
from drupelet_shared.package.manifest import Manifest
from drupelet_shared.postprocessing.answer import Answerer
from drupelet_shared.postprocessing.geometry import ImageGeometry
from drupelet_shared.tensors import count_values


@dataclass(frozen=True, slots=True)
class Handled:
    """A reply and the times of its stages.

    Attributes:
        encoded: The reply.
        decode_ms: The time of decoding in milliseconds.
        inference_ms: The time in the engine in milliseconds.
        encode_ms: The time of encoding in milliseconds.
    """

    encoded: Encoded
    decode_ms: float
    inference_ms: float
    encode_ms: float


class RequestHandler:
    """Answers requests with one loaded model; not safe to use from two threads at once."""

    def __init__(
        self,
        *,
        model_name: str,
        model_version: str,
        manifest: Manifest,
        session: Session,
        answerer: Answerer | None = None,
    ) -> None:
        """Create a handler.

        Args:
            model_name: The name that replies carry.
            model_version: The version that replies carry.
            manifest: The package's manifest, for inputs, outputs and image processing.
            session: The loaded model.
            answerer: Converts the outputs to the answer; None sends them as they are.
        """
        self._model_name = model_name
        self._model_version = model_version
        self._manifest = manifest
        self._session = session
        self._answerer = answerer
        self._outputs = tuple(spec.name for spec in manifest.outputs)
        values = count_values(manifest.inputs)
        self._max_values = MAX_VALUES if values is None else values

    def handle(self, payload: memoryview, *, content_type: str | None, header_length: int | None) -> Handled:
        """Answer one request.

        Args:
            payload: The body; tensors may be views of it until this returns.
            content_type: Its media type; None or empty if the client named none.
            header_length: Length of the JSON part before raw tensors; None if there is none.

        Returns:
            The encoded reply and the time of each stage.

        Raises:
            RequestError: The request is malformed or unsuitable, or the engine failed; `request_id` is set if known.
        """
        start = time.perf_counter_ns()
        media_type = parse_content_type(content_type) if content_type else sniff_content_type(payload)
        if media_type in {PNG_TYPE, JPEG_TYPE}:
            request, geometry = self._image_request(payload)
        else:
            request = decode_request(
                payload, content_type=media_type, header_length=header_length, max_values=self._max_values
            )
            geometry = None
        try:
            names = self._requested_outputs(request)
            check_inputs(request.inputs, self._manifest.inputs)
            decoded = time.perf_counter_ns()
            outputs = self._session.run(request.inputs, names)
            inferred = time.perf_counter_ns()
            encoded = self._encode(request, outputs, geometry)
        except RequestError as error:
            error.request_id = request.id
            raise
        return Handled(
            encoded=encoded,
            decode_ms=(decoded - start) / 1e6,
            inference_ms=(inferred - decoded) / 1e6,
            encode_ms=(time.perf_counter_ns() - inferred) / 1e6,
        )

    def _image_request(self, payload: memoryview) -> tuple[InferenceRequest, ImageGeometry]:
        preprocessing = self._manifest.preprocessing
        if preprocessing is None:
            raise ImageError(f"model {self._model_name} takes no images: send its tensors as {JSON_TYPE}")
        spec = next(spec for spec in self._manifest.inputs if spec.name == preprocessing.input)
        image = prepare_image(payload, preprocessing, spec.datatype)
        in_binary = self._answerer is not None and self._answerer.answers_in_binary
        return InferenceRequest(inputs={spec.name: image.tensor}, binary_output=in_binary), image.geometry

    def _requested_outputs(self, request: InferenceRequest) -> tuple[str, ...]:
        if request.outputs is None:
            return self._outputs
        for output in request.outputs:
            if output.name not in self._outputs:
                known = ", ".join(map(repr, self._outputs))
                raise InputNameError(f"output {output.name!r} is unknown: the model has {known}")
        return tuple(output.name for output in request.outputs)

    def _encode(self, request: InferenceRequest, outputs: dict[str, Array], geometry: ImageGeometry | None) -> Encoded:
        # Who names outputs gets them as the model gives them.
        if self._answerer is not None and request.outputs is None:
            outputs = self._answerer.answer(outputs, geometry)
        reply = InferenceReply(
            model_name=self._model_name, model_version=self._model_version, id=request.id, outputs=outputs
        )
        return encode_reply(reply, request)
