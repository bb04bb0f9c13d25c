"""How commands describe themselves: options in sections, and examples as the user would type them."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from training.config import RUN, SECTIONS
from training.errors import ConfigError

SCRIPT = "cli.py"


def program() -> list[str]:
    """The words that the user began the command with: the installed ``samebits``, or ``python cli.py``."""
    typed = sys.argv[0]
    if Path(typed).name == "samebits":
        return [Path(typed).name if shutil.which("samebits") == typed else typed]
    return ["python", typed if Path(typed).name == SCRIPT else SCRIPT]


class Option(click.Option):
    """An option that knows its section, one of SECTIONS; "" for a command that has none.

    ``empty``: whether an empty text is a value, as of a setting that it resets.
    """

    def __init__(self, *arguments: Any, section: str = "", empty: bool = False, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.section, self.empty = section, empty


class Command(click.Command):
    """A command whose help has sections, where its options do, and examples that can be typed as they stand."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does; but an empty text, as of a variable of the shell that is not set, is no option left out."""
        rest = super().parse_args(ctx, args)
        for param in self.get_params(ctx):
            name, may_be_empty = param.name or "", getattr(param, "empty", not isinstance(param, click.Option))
            value = ctx.params.get(name)
            is_empty = value == "" or (isinstance(value, tuple) and "" in value)
            if is_empty and not may_be_empty and is_typed(ctx, name):
                raise ConfigError(f"{param.opts[0]}: expected a value, got ''; leave the option out")
        return rest

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options, under the headings of their sections."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                sections.setdefault(getattr(param, "section", ""), []).append(record)
        if set(sections) == {""}:
            super().format_options(ctx, formatter)
            return
        sections.setdefault(RUN, []).extend(sections.pop("", []))
        for name in SECTIONS:
            if name in sections:
                with formatter.section(name):
                    formatter.write_dl(sections[name])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The example, beginning with what the user typed."""
        _write_epilog(self.epilog, formatter)


def is_typed(ctx: click.Context, name: str) -> bool:
    """Whether the parameter was given on the command line."""
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


class Group(click.Group):
    """A group of such commands."""

    command_class = Command
    group_class = type

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, beginning with what the user typed."""
        _write_epilog(self.epilog, formatter)


def _write_epilog(epilog: str | None, formatter: click.HelpFormatter) -> None:
    if epilog:
        formatter.write_paragraph()
        formatter.write_text(epilog.replace(f"python {SCRIPT}", shlex.join(program())))
