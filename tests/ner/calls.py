"""Commands as the tests call them, in this process."""

from __future__ import annotations

from click.testing import CliRunner, Result

import cli


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.main, [str(each) for each in arguments], catch_exceptions=False)


def done(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments: object) -> str:
    """The one line of an error."""
    result = run(*arguments)
    assert result.exit_code not in (0, 1), result.output
    assert "Traceback" not in result.output
    line = result.output.strip().splitlines()[-1]
    assert line.startswith("error: "), result.output
    return line
