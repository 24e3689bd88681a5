"""Inference requests and replies: Open Inference Protocol v2 with Triton's binary tensor extension.

Must not import `engines` or `contract`.
"""

from drupelet_shared.inference.body import MAX_VALUES
from drupelet_shared.inference.checks import check_inputs
from drupelet_shared.inference.header import datatype_of
from drupelet_shared.inference.reply import decode_reply, encode_reply
from drupelet_shared.inference.request import decode_request, encode_request
from drupelet_shared.inference.values import Encoded, InferenceReply, InferenceRequest, RequestedOutput

__all__ = [
    "MAX_VALUES",
    "Encoded",
    "InferenceReply",
    "InferenceRequest",
    "RequestedOutput",
    "check_inputs",
    "datatype_of",
    "decode_reply",
    "decode_request",
    "encode_reply",
    "encode_request",
]
