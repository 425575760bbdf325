"""Tables on the console: by rich on a terminal, plain text where the output is piped."""

import rich.table
from rich.console import Console

from .tables import Table, plain_text


def print_table(table: Table, console: Console | None = None) -> None:
    """Print a table; colours and rules only where somebody looks at a terminal."""
    console = console or Console()
    if not console.is_terminal:
        print(plain_text(table), file=console.file)
        return
    drawn = rich.table.Table(title=table.title, title_justify="left")
    for place, name in enumerate(table.header):
        drawn.add_column(name, justify="right" if place else "left", no_wrap=bool(place))
    for row in table.rows:
        drawn.add_row(*row)
    console.print(drawn, markup=False)
    for note in table.notes:
        console.print(note, style="dim", markup=False, highlight=False)
