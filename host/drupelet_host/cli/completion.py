"""`drupelet completion`: scripts for completion in shells."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, *, shell: str) -> None:
    """Print a completion script for SHELL on standard output.

    Example: drupelet completion bash > ~/.local/share/bash-completion/completions/drupelet
    """
    script = get_completion_class(shell)
    assert script is not None, shell
    click.echo(script(ctx.find_root().command, {}, "drupelet", "_DRUPELET_COMPLETE").source())
