"""The command line: one verb per step, and a few that belong to no step.

Packages that a verb needs are imported inside it, so that the others start at once. A fault that the user can mend is one
line on standard error and exit status 2.
"""

import errno
import sys
from typing import Annotated, Any, cast

import typer

from sepvox import __version__
from sepvox.errors import SepvoxError, StoreError
from sepvox.verbs import about, classes, networks, neurons, steps, studies

MENDS = {
    errno.ENOENT: "run the step that makes it",
    errno.ENAMETOOLONG: "use shorter names",
    errno.EISDIR: "give a file, not a folder",
    errno.ENOTDIR: "a file stands where a folder is needed: move it, or give another path",
    errno.EEXIST: "a file stands where a folder is needed: move it, or give another path",
    errno.EMFILE: "allow more open files (ulimit -n) or use fewer processes",
}
# What typer raises for a command line that it cannot take.
USAGE_ERROR: type[Exception] = cast(type[Exception], typer.BadParameter.__mro__[1])
SMALLER = "make prepare.shard, cells or processes of the experiment smaller, or take a machine with more memory"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Raw 3D volumes to scored segmentations with parallel separable 3D networks.",
)
for verbs in (steps, neurons, classes, networks, studies, about):
    app.add_typer(verbs.app)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if show:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point of `sepvox`."""
    try:
        status = app(standalone_mode=False)
    except USAGE_ERROR as error:
        _usage(error)
    except SepvoxError as error:
        _fail(str(error))
    except MemoryError as error:
        _fail(f"out of memory: {error}; {SMALLER}, then run the same command again")
    except OSError as error:
        # A full or read-only disk can show up in any write.
        if error.errno is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        mend = MENDS.get(error.errno, "free space or check permissions")
        _fail(str(StoreError(f"{where}{error.strerror}; {mend}, then run the same command again")))
    else:
        # typer.Exit, raised by a verb, comes back as its number.
        sys.exit(status if isinstance(status, int) else 0)


def _usage(error: Any) -> None:
    if type(error).__name__ == "NoArgsIsHelpError":
        # With rich, typer has printed it already.
        if error.format_message():
            error.show()
        sys.exit(2)
    command = error.ctx.command_path if error.ctx else "sepvox"
    _fail(f"{error.format_message().rstrip('.')}; `{command} --help` lists what it takes")


def _fail(message: str) -> None:
    typer.echo(f"sepvox: {' '.join(message.split())}", err=True)
    sys.exit(2)
