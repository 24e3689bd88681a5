"""What the agent's own process loads."""

from __future__ import annotations

import subprocess
import sys

# As `drupelet-agent run` imports it, and in a process that no test has imported anything into.
_IMPORT = """
import sys
from drupelet_agent import cli
from drupelet_agent.app.slim_imports import lean_imports
with lean_imports():
    import drupelet_agent.config.agent
    import drupelet_agent.app.daemon
print(*sorted(sys.modules))
import ssl, _hashlib
"""


def test_what_serves_loads_no_runtime_no_openssl_and_no_library_of_metadata() -> None:
    ended = subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(ended.stdout.split())
    heavy = {
        "numpy",
        "onnxruntime",
        "cryptography",
        "PIL",
        "paho",
        "ssl",
        "_hashlib",
        "bz2",
        "lzma",
        "email",
        "importlib.metadata",
    }
    assert not loaded & heavy
    assert "pydantic" in loaded
