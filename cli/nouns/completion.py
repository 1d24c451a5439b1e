"""``outrider completion``: the script that a shell sources so that Tab completes commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from cli.invocation import Invocation, pass_invocation
from cli.leaf import LocalCommand


@click.command(cls=LocalCommand)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
@pass_invocation
def noun(invocation: Invocation, ctx: click.Context, shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    Set it up with one of:
      bash   echo 'eval "$(outrider completion bash)"' >> ~/.bashrc
      zsh    echo 'eval "$(outrider completion zsh)"'  >> ~/.zshrc
      fish   outrider completion fish > ~/.config/fish/completions/outrider.fish
    """
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"No completion is known for {shell}.")
    source = script(found, ctx.find_root().command)
    if invocation.as_json:
        invocation.output.data({"shell": shell, "script": source})
    else:
        click.echo(source)


def script(kind: type[click.shell_completion.ShellComplete], root: click.Command) -> str:
    """Return the script of one shell, made from click's own template without starting that shell.

    Click starts bash to learn its version before it prints; the version matters where the script is sourced, not here.
    """
    made = kind(root, {}, "outrider", "_OUTRIDER_COMPLETE")
    return made.source_template % made.source_vars()
