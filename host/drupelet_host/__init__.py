"""The compiler and the client: everything that runs on a workstation. The public names are in `drupelet`.

May import `drupelet_shared`, never `drupelet_agent`.
"""

import os

# Some modules import ONNX Runtime without its adapter, which documents why its telemetry is switched off.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
