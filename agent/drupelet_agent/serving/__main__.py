"""`python -m drupelet_agent.serving SPEC` is a worker process; see `drupelet_agent.serving.worker`."""

from __future__ import annotations

import sys

from drupelet_agent.lean import lean_imports

if __name__ == "__main__":
    with lean_imports():
        from drupelet_agent.serving.worker import main
    sys.exit(main())
