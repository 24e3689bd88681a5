"""ONNX Runtime behind LitServe. Arguments: model, port."""

# ruff: noqa: ANN001, ANN201, ARG002 - written as its documentation shows

import sys

import litserve as ls
import numpy as np
import onnxruntime as ort


class OnnxApi(ls.LitAPI):
    def setup(self, device):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
        self.output = self.session.get_outputs()[0].name

    def decode_request(self, request):
        tensor = request["inputs"][0]
        return {tensor["name"]: np.array(tensor["data"], dtype=np.float32).reshape(tensor["shape"])}

    def predict(self, inputs):
        return self.session.run([self.output], inputs)[0]

    def encode_response(self, output):
        return {"shape": list(output.shape), "data": output.ravel().tolist()}


if __name__ == "__main__":
    server = ls.LitServer(OnnxApi(), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="warning")
