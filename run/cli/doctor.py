"""`zmx doctor`: the findings of run/doctor as a table, what needs mending below it, and a line that sums it up."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.markup import escape

from run.cli.screen import err, out, print_json, table
from run.config import Config
from run.doctor import Finding, Machine, Report, State, examine

_MARKS = {
    State.BREAKS: "[red]✗[/red]",
    State.COSTS: "[yellow]![/yellow]",
    State.UNSEEN: "[dim]?[/dim]",
    State.WELL: "[green]✓[/green]",
}


def main(config: Config, quick: bool, as_json: bool) -> None:
    """Print all findings, the worst first. Exits with 1 when something costs latency, with 2 when something breaks."""
    if not quick and err().is_terminal:
        err().print("[dim]measuring for a second[/dim]")
    report = examine(config, Machine(), quick)
    if as_json:
        print_json(report.to_json())
    else:
        show(out(), report)
    sys.exit(report.status)


def show(console: Console, report: Report) -> None:
    """The table, what mends each, what the exchange does by itself, the verdict."""
    made = table("", "what", "found", ">costs")
    for each in report.findings:
        made.add_row(_MARKS[each.state], each.what, escape(each.found), _cost(each))
    console.print(made)
    console.print()
    for each in report.findings:
        if each.mend:
            console.print(f"{_MARKS[each.state]} [bold]{each.what}[/bold]: {escape(each.costs)}", soft_wrap=True)
            console.print(f"    [cyan]{escape(each.mend)}[/cyan]", soft_wrap=True)
            if each.lasting:
                console.print(f"    for good: [cyan]{escape(each.lasting)}[/cyan]", soft_wrap=True)
    console.print("\n[bold]What the exchange does by itself[/bold]")
    for thing in report.own:
        console.print(
            f"  [bold]{thing.what}[/bold]: {escape(thing.does)} [dim]({escape(thing.why)})[/dim]", soft_wrap=True
        )
    console.print(f"\n{_MARKS[report.worst]} {report.verdict}", soft_wrap=True)


def _cost(finding: Finding) -> str:
    if not finding.cost_us:
        return ""
    return f"{'' if finding.measured else '~'}{finding.cost_us:,.0f} us"
