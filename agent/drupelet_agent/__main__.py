"""`python -m drupelet_agent` is the `drupelet-agent` command."""

import sys

from drupelet_agent.cli.parser import main

sys.exit(main())
