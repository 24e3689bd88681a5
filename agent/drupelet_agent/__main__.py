"""`python -m drupelet_agent` is the `drupelet-agent` command."""

from drupelet_agent.cli import main

main()
