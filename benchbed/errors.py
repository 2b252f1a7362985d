"""Errors a person can fix, and the one table of exit codes.

Library code raises; only the command line prints and exits. Every message says what was
given, why it cannot work, and what to type next. ``assert`` is for the author's mistakes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """What every ``benchbed`` verb exits with."""

    OK = 0
    REGRESSION = 1  # a regression or a bias was found
    USAGE = 2  # the call or the spec cannot work
    INCOMPLETE = 3  # cells are missing, failed or not finite
    UNDECIDED = 4  # under --strict: more draws are needed
    UNUSABLE = 5  # the baseline or the results cannot be used
    INTERRUPTED = 130


class BenchbedError(Exception):
    """Base of every error that the person at the keyboard can mend."""

    exit_code = ExitCode.USAGE


class BadArgument(BenchbedError):
    """A value that the named thing cannot work with."""


class UnknownName(BenchbedError):
    """A name that stands for nothing here."""


class IncompatiblePair(BenchbedError):
    """An estimator that cannot be applied to an objective."""


class BadSpec(BenchbedError):
    """A sweep file that cannot be read."""


class BrokenContract(BenchbedError):
    """An estimator or objective that does not keep what contracts.py asks."""

    exit_code = ExitCode.INCOMPLETE


class UnusableResults(BenchbedError):
    """A results folder or file that is foreign, damaged, empty or cannot be written."""

    exit_code = ExitCode.UNUSABLE


def unknown_name(kind: str, given: str, known: Iterable[str], advice: str) -> UnknownName:
    """Say which ``kind`` was not found and the nearest name that exists."""
    return UnknownName(f"unknown {kind} '{given}'{nearest(given, known)}; {advice}")


def nearest(given: str, known: Iterable[str]) -> str:
    """Return ``", did you mean 'x'?"`` or an empty string."""
    match = difflib.get_close_matches(given, list(known), n=1, cutoff=0.6)
    return f", did you mean '{match[0]}'?" if match else ""


def one_line(error: Exception) -> str:
    """Return an error as one line: its type and its message."""
    return " ".join(f"{type(error).__name__}: {error}".split())
