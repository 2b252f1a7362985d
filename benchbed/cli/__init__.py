"""The command line: one file a verb, each of them parse, call, print.

Nothing here imports torch before a verb that measures is run.
"""

from __future__ import annotations

import errno
import gc
import os
import sys

import rich_click as click
from click.exceptions import Exit, NoArgsIsHelpError

from benchbed import __version__
from benchbed.cli.baseline import baseline
from benchbed.cli.check import check
from benchbed.cli.cite import cite
from benchbed.cli.compare import compare
from benchbed.cli.context import Context
from benchbed.cli.env import env
from benchbed.cli.facts import facts
from benchbed.cli.list import list_
from benchbed.cli.new import new
from benchbed.cli.plan import plan
from benchbed.cli.report import report
from benchbed.cli.run import run
from benchbed.cli.scaling import scaling
from benchbed.cli.selftest import selftest
from benchbed.cli.status import status
from benchbed.cli.table import table
from benchbed.cli.verify import verify
from benchbed.errors import BenchbedError, ExitCode

CODES = "; ".join(f"{code.value} {code.name.lower()}" for code in ExitCode)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"Exit codes: {CODES}.",
)
@click.version_option(__version__, prog_name="benchbed")
def cli() -> None:
    """Bias, variance and cost of gradient estimators, against exact gradients."""


cli.context_class = Context
VERBS = (
    *(plan, run, status, table, report, verify, compare, check, baseline, selftest),
    *(list_, scaling, cite, facts, new, env),
)
for _verb in VERBS:
    _verb.context_class = Context
    cli.add_command(_verb)


def main() -> None:
    """Run the command line; every mistake a person can make is one line and an exit code."""
    try:
        code = _run(sys.argv[1:])
        sys.stdout.flush()
    except BenchbedError as error:
        code = _fail(str(error), error.exit_code)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        verb = next((word for word in sys.argv[1:2] if word in cli.commands), "")
        path = context.command_path if context else f"benchbed {verb}".strip()
        said = error.format_message().rstrip(".")
        code = _fail(f"{said}. See '{path} --help'.", error.exit_code)
    except (KeyboardInterrupt, EOFError, click.Abort):
        code = _fail("interrupted; run the same command again", ExitCode.INTERRUPTED)
    except OSError as error:
        if error.errno != errno.EPIPE:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader, head, has gone
        code = ExitCode.OK
    gc.freeze()  # leaving, Python would go through all that torch and its like have made: 0.3 s
    sys.exit(int(code))


def _run(arguments: list[str]) -> int:
    """Run one verb; unlike click's own ``main`` let interrupts and broken pipes through."""
    if "_BENCHBED_COMPLETE" in os.environ:
        cli.main(arguments, prog_name="benchbed")
    try:
        with cli.make_context("benchbed", arguments) as context:
            return cli.invoke(context) or ExitCode.OK
    except NoArgsIsHelpError as error:
        click.echo(error.message)
        return ExitCode.USAGE
    except Exit as error:
        return error.exit_code


def _fail(message: str, code: int) -> int:
    click.echo(f"benchbed: {' '.join(message.split())}", err=True)
    return code
