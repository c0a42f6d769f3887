"""The command hpo-gn."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import optuna
import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from hpo_gn import __version__
from hpo_gn.allocator import keep_freed_memory
from hpo_gn.commands.compare import compare
from hpo_gn.commands.plan import plan
from hpo_gn.commands.record import record
from hpo_gn.commands.replay import replay
from hpo_gn.commands.report import report
from hpo_gn.commands.search import search
from hpo_gn.commands.status import status
from hpo_gn.commands.worker import worker
from hpo_gn.errors import ArgumentError, HpoGnError
from hpo_gn.failures import one_line

_LONGEST = 1000  # a message may name a file


class OneLineGroup(TyperGroup):
    """A command whose mistakes are one line on standard error and exit code 2, never a traceback."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        """Run the command; typer's own errors, of unknown options and the like, become a line too."""
        try:
            _check_text(sys.argv[1:] if args is None else args)
            code = super().main(args, *rest, **(options | {"standalone_mode": False}))
        except TyperException as error:
            code = _complain(error.format_message())
        except HpoGnError as error:
            code = _complain(str(error))
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        """Run a subcommand."""
        try:
            return super().invoke(ctx)
        except HpoGnError as error:
            code = _complain(str(error))
        except KeyboardInterrupt:
            typer.echo("hpo-gn: stopped; nothing is held. Repeat the command to go on.", err=True)
            code = 130
        except OSError as error:  # a folder that cannot be written, a full disk
            if error.filename is None:
                raise
            code = _complain(f"{error.filename}: {os.strerror(error.errno or 0)}")
        raise typer.Exit(code) from None


def _check_text(arguments: Sequence[str]) -> None:
    """Refuse what no file, database or terminal can be given."""
    for argument in arguments:
        if "\0" in argument or any("\ud800" <= each <= "\udfff" for each in argument):
            raise ArgumentError("an argument", "text in UTF-8, without NUL", argument)


def _complain(message: str) -> int:
    typer.echo(f"hpo-gn: {one_line(message, longest=_LONGEST)}", err=True)
    return 2


app = typer.Typer(
    cls=OneLineGroup, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"hpo-gn {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[  # noqa: ARG001  # its callback does it all
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Hyperparameter optimization of PyTorch models under a GPU×epoch budget."""
    # Ours is the only voice: Optuna logs every trial, and the progress shows them.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    keep_freed_memory()
    if sys.path[0] != "":
        sys.path.insert(0, "")  # module:function of the folder the command is run in


for command in (search, worker, status, plan, report, compare, record, replay):
    app.command()(command)

if __name__ == "__main__":
    app()
