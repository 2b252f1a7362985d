"""``benchbed verify``: estimators and objectives held against what they promise."""

from __future__ import annotations

import rich_click as click

from benchbed.cli._verify_estimator import estimator
from benchbed.cli._verify_objective import objective


@click.group()
def verify() -> None:
    """Check an estimator, or that what is called exact is exact."""


verify.add_command(estimator)
verify.add_command(objective)
