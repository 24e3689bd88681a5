from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from drupelet_host.cli.tensors import print_reply, print_reply_json, write_tensors
from drupelet_shared.inference import InferenceReply


def labelled(*labels: str | bytes) -> InferenceReply:
    outputs = {
        "labels": np.array(labels, dtype=object),
        "scores": np.linspace(0.9, 0.1, len(labels), dtype=np.float32),
        "indices": np.arange(len(labels)),
    }
    return InferenceReply(model_name="m", outputs=outputs)


@pytest.mark.parametrize(
    ("labels", "written"), [(("Käfer", "cat"), ["Käfer", "cat"]), ((b"cat", b"\xff"), [b"cat", b"\xff"])]
)
def test_labels_are_written_as_text_or_bytes_without_pickling(
    tmp_path: Path, labels: tuple[str | bytes, ...], written: list[str | bytes]
) -> None:
    write_tensors(tmp_path / "y.npz", labelled(*labels))

    with np.load(tmp_path / "y.npz", allow_pickle=False) as arrays:
        assert arrays["labels"].tolist() == written


def test_labels_are_printed_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_reply(labelled("Käfer", "cat"), top=1)
    print_reply_json(labelled("Käfer", "cat"))

    printed = capsys.readouterr().out
    assert "Käfer" in printed
    assert "b'" not in printed
