"""What the ONNX Runtime adapter keeps ONNX Runtime from doing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.package.served_packages import linear_model


def test_it_leaves_no_identifier_on_the_disk_and_starts_no_uploader(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(linear_model())
    script = f"""
from pathlib import Path
from drupelet_shared.engines.registry import load_engine
session = load_engine("onnxruntime").load(Path({str(model)!r}), threads=1)
print(len(list(Path("/proc/self/task").iterdir())))
"""
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_", "CI"))}
    environment = {**kept, "HOME": str(home), "OPENBLAS_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert list(home.rglob("*")) == []
    assert int(result.stdout) == 1
