"""The profile of an ncnn model: each layer in the order it ran, with its time."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from drupelet_shared.engines.ncnn import NcnnEngine
from drupelet_shared.engines.onnxruntime_profile import count_operators, read_operators
from drupelet_shared.engines.profiling import ProfilingEngine
from support.model.ncnn_models import write_linear_ncnn
from support.package.served_packages import linear_weights

IMAGE = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 1, 8, 8)


def test_every_layer_is_there_with_its_kind_and_shape(tmp_path: Path) -> None:
    engine = NcnnEngine()
    assert isinstance(engine, ProfilingEngine)
    path = write_linear_ncnn(tmp_path / "m.param", linear_weights())
    session = engine.load_profiled(path, threads=1, folder=tmp_path)
    for _ in range(5):
        scores = session.run({"image": IMAGE}, ["scores"])["scores"]
    np.testing.assert_allclose(scores, IMAGE.reshape(1, 64) @ linear_weights(), atol=1e-4)
    profile = session.end_profiling()
    assert profile.parent == tmp_path
    (operator,) = read_operators(profile, runs=3)
    assert (operator.name, operator.type, operator.output) == ("scores", "InnerProduct", "float [10]")
    assert operator.calls == 1
    assert operator.self_ms >= 0
    assert count_operators(profile) == 5
