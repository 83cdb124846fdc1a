"""Options and arguments that several commands have."""

from typing import Annotated

import typer

_APP_HELP = "The app: module:attribute, or a module, whose attribute `app` it is; else TURNOUT_APP."

Target = Annotated[str | None, typer.Argument(metavar="MODULE[:ATTRIBUTE]", help=_APP_HELP)]
AppName = Annotated[
    str | None,
    typer.Option("--app", metavar="MODULE[:ATTRIBUTE]", help=_APP_HELP),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")]
