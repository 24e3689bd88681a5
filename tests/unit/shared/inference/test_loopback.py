"""A session behind the codec of requests answers as the session itself, and refuses what a device refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from drupelet_shared.engines.registry import load_engine
from drupelet_shared.errors import InputDatatypeError, InputNameError
from drupelet_shared.inference.loopback import LoopbackSession
from drupelet_shared.package.golden import check_golden, load_golden, record_golden
from support.model import odd_networks
from support.model.odd_parts import VECTOR, feeds


def test_tensors_without_dimensions_pass_the_codec_and_the_golden_check(tmp_path: Path) -> None:
    session = load_engine("onnxruntime").load(odd_networks.scalar_input(tmp_path / "model.onnx"), threads=1)
    samples = [{**feed, "gain": np.array(gain, np.float32)} for gain, feed in enumerate(feeds(VECTOR, count=3))]
    through, plain = (each.run(samples[2], ["y", "mean"]) for each in (LoopbackSession(session), session))
    assert {name: array.shape for name, array in through.items()} == {"y": (1, 8), "mean": ()}
    assert all(np.array_equal(through[name], plain[name]) for name in plain)
    (tmp_path / "golden.npz").write_bytes(record_golden(LoopbackSession(session), samples).to_bytes())
    assert check_golden(session, load_golden(tmp_path / "golden.npz"), tolerance=0.0) == 0.0


def test_a_scalar_of_numpy_is_a_tensor_without_dimensions(tmp_path: Path) -> None:
    session = load_engine("onnxruntime").load(odd_networks.scalar_input(tmp_path / "model.onnx"), threads=1)
    answer = session.run({**feeds(VECTOR)[0], "gain": np.float32(2)}, ["mean"])
    assert isinstance(answer["mean"], np.ndarray)


def test_what_a_device_would_refuse_is_refused(tmp_path: Path) -> None:
    session = LoopbackSession(
        load_engine("onnxruntime").load(odd_networks.scalar_input(tmp_path / "model.onnx"), threads=1)
    )
    with pytest.raises(InputNameError, match="'gain' is missing"):
        session.run(feeds(VECTOR)[0], ["y"])
    with pytest.raises(InputDatatypeError, match="'gain' has datatype INT64"):
        session.run({**feeds(VECTOR)[0], "gain": np.array(2)}, ["y"])
