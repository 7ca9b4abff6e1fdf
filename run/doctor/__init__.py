"""What of this machine slows an exchange down: what was found, what it costs here, the command that mends it.

`machine.py` is the one door to the machine, `measure.py` what is measured in about a second, `checks.py` the table of
checks, `own.py` what the exchange does about its machine by itself. Nothing is changed, no privilege is needed, and
what this system does not show (a virtual machine has no governor) is said, not guessed.

    machine = Machine()                                  # this one
    report = examine(config, machine, quick=False)      # report.findings: the worst and costliest first
    report.status                                        # 0, 1 or 2: the exit status of `zmx doctor`
"""

from run.doctor.checks import examine
from run.doctor.finding import Finding, State
from run.doctor.machine import Machine
from run.doctor.report import Report

__all__ = ["Finding", "Machine", "Report", "State", "examine"]
