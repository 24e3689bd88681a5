"""Inferences between marks for the timing model; runs in the emulated Python. Prints what was marked in each as JSON.

Arguments: the engine, how an inference is marked ("whole" or "layers"), a folder to import from first or an empty word,
and for each model its file and its input's shape, as 3x224x224. Each runs in a process of its own that has imported
everything before.

The first inference packs weights and is not timed. Layers are marked one by one in ncnn, which computes what it is
asked for. ONNX Runtime's profiler reads the clock around each node, and XNNPACK writes a control register around each
operator; the plugin notes both by itself.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# As deploy/emulator/cortex_a72/plugin.c knows it.
_MARK, _START, _STOP = 0x4452, 1, 2
_AS_COMPUTED = 1
_OUTPUT_WORD = 4
_MODULES = {
    "ncnn": "drupelet_shared.engines.ncnn_session",
    "onnxruntime": "onnxruntime",
    "litert": "ai_edge_litert.interpreter",
}


def _timed(infer: Callable[[], object]) -> None:
    mark = ctypes.CDLL(None).getpriority
    gc.disable()
    mark(_MARK, _START)
    infer()
    mark(_MARK, _STOP)


def _run_onnxruntime(path: str, how: str) -> object:
    import onnxruntime  # noqa: PLC0415 - one engine a process

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        if how == "layers":
            options.enable_profiling, options.profile_file_prefix = True, f"{folder}/profile"
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        random = np.random.default_rng(0)
        feed = {value.name: random.standard_normal(value.shape).astype("f4") for value in session.get_inputs()}
        session.run(None, feed)
        _timed(lambda: session.run(None, feed))
        if how != "layers":
            return None
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    runs = [index for index, event in enumerate(events) if event["name"] == "model_run"]
    nodes = [event for event in events[runs[-2] + 1 :] if event["name"].endswith("_kernel_time")]
    return [
        {
            "name": node["name"][: -len("_kernel_time")],
            "kind": node["args"]["op_name"],
            "values": [_count(node["args"][f"{side}_type_shape"]) for side in ("input", "output")],
        }
        for node in nodes
    ]


def _count(tensors: list[dict[str, list[int]]]) -> int:
    """The values of a node's first input or output, which the profiler describes as [{"int8": [1, 8, 4, 4]}, ...]."""
    return int(np.prod(next(iter(tensors[0].values())))) if tensors else 0


def _run_litert(path: str) -> object:
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - one engine a process

    interpreter = Interpreter(model_path=path, num_threads=1)
    interpreter.allocate_tensors()
    for given in interpreter.get_input_details():
        random = np.random.default_rng(0)
        interpreter.set_tensor(given["index"], random.standard_normal(given["shape"]).astype(given["dtype"]))
    interpreter.invoke()
    _timed(interpreter.invoke)
    return None


def _run_ncnn(path: str, how: str, shape: str) -> object:
    from drupelet_shared.engines.ncnn_session import runtime  # noqa: PLC0415 - one engine a process

    net = _load_ncnn(runtime, path)
    channels, height, width = map(int, shape.split("x"))
    image = runtime.Mat(width, height, channels)
    image.fill(0.01)
    source, *_ = net.input_names()
    target, *_ = net.output_names()

    def infer() -> None:
        extractor = net.create_extractor()
        extractor.input(source, image)
        extractor.extract(target)

    infer()
    if how != "layers":
        _timed(infer)
        return None
    lines = [line.split() for line in Path(path).read_text(encoding="ascii").splitlines()[2:]]
    layers = [words for words in lines if words and words[0] != "Input"]
    outputs = [words[_OUTPUT_WORD + int(words[2])] for words in layers]
    mark = ctypes.CDLL(None).getpriority
    gc.disable()
    extractor = net.create_extractor()
    extractor.set_light_mode(False)
    extractor.input(source, image)
    for output in outputs:
        for _ in range(2):  # the second time it is there, which is what asking costs
            mark(_MARK, _START)
            extractor.extract(output, _AS_COMPUTED)
            mark(_MARK, _STOP)
    return [{"name": words[1], "kind": words[0]} for words in layers]


def _load_ncnn(runtime: Any, path: str) -> Any:  # noqa: ANN401 - ncnn ships no types
    """As ncnn's own benchmark does: zeros for weights, one thread, and the light mode that frees what was read."""
    net = runtime.Net()
    options = net.opt
    options.lightmode, options.num_threads, options.use_vulkan_compute = True, 1, False
    for name in (
        "use_winograd_convolution",
        "use_sgemm_convolution",
        "use_int8_inference",
        "use_fp16_packed",
        "use_fp16_storage",
        "use_fp16_arithmetic",
        "use_int8_storage",
        "use_int8_arithmetic",
        "use_packing_layout",
    ):
        setattr(options, name, True)
    net.opt = options
    runtime.set_omp_dynamic(0)
    runtime.set_omp_num_threads(1)
    if net.load_param(path) or net.load_model(runtime.DataReaderFromEmpty()):
        raise OSError(f"{path}: ncnn cannot load it")
    return net


def _run(engine: str, path: str, how: str, shape: str) -> object:
    if engine == "ncnn":
        return _run_ncnn(path, how, shape)
    return _run_onnxruntime(path, how) if engine == "onnxruntime" else _run_litert(path)


def _run_in_child(*words: str) -> object:
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "marked.json"
        child = os.fork()
        if not child:
            status = 1
            try:
                answer.write_text(json.dumps(_run(*words)), encoding="utf-8")
                status = 0
            except Exception:  # noqa: BLE001 - said on standard error, and the parent fails
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        _, status = os.waitpid(child, 0)
        if status:
            raise SystemExit(f"{words[1]}: ended with {status}")
        return json.loads(answer.read_text(encoding="utf-8"))


def main() -> None:
    """Run each model."""
    engine, how, packages, *models = sys.argv[1:]
    if packages:
        sys.path.insert(0, packages)
    importlib.import_module(_MODULES[engine])
    json.dump(
        [_run_in_child(engine, path, how, shape) for path, shape in zip(models[::2], models[1::2], strict=True)],
        sys.stdout,
    )


if __name__ == "__main__":
    main()
