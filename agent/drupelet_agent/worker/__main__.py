"""The entry point of a worker process, `python -m drupelet_agent.worker SPEC`; see `drupelet_agent.worker.worker`."""

from __future__ import annotations

import sys

from drupelet_agent.app.slim_imports import lean_imports

if __name__ == "__main__":
    with lean_imports():
        from drupelet_agent.worker.worker import main
    sys.exit(main())
