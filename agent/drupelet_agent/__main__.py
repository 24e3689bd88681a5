"""`python -m drupelet_agent` is the `drupelet-agent` command."""

import sys

from drupelet_agent.cli import main

sys.exit(main())
