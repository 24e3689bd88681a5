"""ONNX Runtime as a model of MLServer, which has no runtime of its own for it."""

import os

import numpy as np
import onnxruntime as ort
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class OnnxModel(MLModel):
    async def load(self) -> bool:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"])
        self.output = self.session.get_outputs()[0].name
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        (tensor,) = payload.inputs
        values = np.array(tensor.data.root, dtype=np.float32).reshape(tensor.shape)
        (result,) = self.session.run([self.output], {tensor.name: values})
        outputs = [
            ResponseOutput(name=self.output, shape=list(result.shape), datatype="FP32", data=result.ravel().tolist())
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)
