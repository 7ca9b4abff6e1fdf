"""`zmx doctor`: the findings of run/doctor.py as a table, what needs mending below it."""

from __future__ import annotations

from rich.markup import escape

from run.cli.screen import out, print_json, table
from run.config import Config
from run.doctor import Finding, examine


def main(config: Config, as_json: bool) -> None:
    """Print all findings. Nothing found is a failure: the exchange runs on any machine, only not equally fast."""
    if as_json:
        print_json([finding._asdict() for finding in examine(config)])
        return
    console = out()
    findings: list[Finding] = []
    with console.status("looking at this machine"):
        findings += examine(config)
    made = table("", "what", "found")
    for each in findings:
        made.add_row("[green]✓[/green]" if each.well else "[yellow]![/yellow]", each.what, each.found)
    console.print(made)
    wanting = [each for each in findings if not each.well]
    console.print()
    if not wanting:
        console.print("Nothing to mend.")
    for each in wanting:
        console.print(f"[yellow]![/yellow] [bold]{each.what}[/bold]: {each.costs}", soft_wrap=True)
        console.print(f"    [cyan]{escape(each.mend)}[/cyan]", soft_wrap=True)
