"""``completion``: scripts for shells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from eyeshot.cli.shared import write

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["complete_colons", "completion"]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    bash: eval "$(eyeshot completion bash)"     in ~/.bashrc
    zsh:  eval "$(eyeshot completion zsh)"      in ~/.zshrc
    fish: eyeshot completion fish | source      in ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    complete_colons()
    kind = get_completion_class(shell)
    assert kind is not None
    write(kind(ctx.find_root().command, {}, "eyeshot", "_EYESHOT_COMPLETE").source())


def complete_colons() -> None:
    """Teach click that bash splits words at colons, and wants what follows the last one."""
    from click.shell_completion import BashComplete, add_completion_class

    class Bash(BashComplete):
        cut = 0

        def get_completion_args(self) -> tuple[list[str], str]:
            args, incomplete = super().get_completion_args()
            words = [*args, incomplete]
            while len(words) > 1 and (words[-1].startswith(":") or words[-2].endswith(":")):
                last = words.pop()
                words[-1] += last
                self.cut = words[-1].rfind(":") + 1
            return words[:-1], words[-1]

        def format_completion(self, item: CompletionItem) -> str:
            if item.type == "plain":
                item.value = item.value[self.cut :]
            return super().format_completion(item)

    add_completion_class(Bash)
