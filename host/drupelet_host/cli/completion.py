"""`drupelet completion`: scripts for completion in shells."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from drupelet_host.cli.command_group import GroupedCommand


@click.command(cls=GroupedCommand)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, *, shell: str) -> None:
    """Print a completion script for SHELL on standard output.

    The examples put it where a new shell finds it; for zsh the folder must be in fpath, before compinit runs.

    Example: drupelet completion bash > ~/.local/share/bash-completion/completions/drupelet

    Example: drupelet completion zsh > ~/.zfunc/_drupelet

    Example: drupelet completion fish > ~/.config/fish/completions/drupelet.fish
    """
    script = get_completion_class(shell)
    assert script is not None, shell
    source = script(ctx.find_root().command, {}, "drupelet", "_DRUPELET_COMPLETE").source()
    # click's script for fish would end a description at its first comma.
    click.echo(source.replace('string split ","', 'string split --max 1 ","'))
