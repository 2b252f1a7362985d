"""The settings at which an estimator is looked at: its temperatures, and twice the samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchbed.arguments import at_least
from benchbed.catalogue import ESTIMATORS, build_estimator, settings_of, takes_samples
from benchbed.catalogue.find import find
from benchbed.contracts import Estimator
from benchbed.errors import BadArgument, BenchbedError

TEMPERATURES = (0.1, 0.5, 1.0)
TYPICAL = 0.5  # stands for all where one temperature is enough
COLD = 0.05  # where what overflows, overflows
KNOBS = ("temperature", "tau")  # what a temperature is called


@dataclass(frozen=True)
class Variant:
    """An estimator at some settings.

    Attributes:
        label: what tells it from the others, such as ``temperature=0.1``; empty if nothing does.
        estimator: built with them.
        temperature: NaN where it has none that is walked.
    """

    label: str
    estimator: Estimator
    temperature: float = float("nan")


@dataclass(frozen=True)
class Walk:
    """All the variants of one estimator.

    Attributes:
        base: what stands for all where one is enough.
        temperatures: one for each value of the knob, the base among them; empty if it has none.
        more: with twice the samples; None if it takes none or the person chose their number.
        cold: at temperature 0.05, or the base.
        counts: whether it says itself how often it evaluates J.
        listed: whether it is the catalogue's own.
        notes: what was left out, and why.
    """

    base: Variant
    temperatures: tuple[Variant, ...]
    more: Variant | None
    cold: Estimator
    counts: bool
    listed: bool
    notes: tuple[str, ...] = ()

    @property
    def variants(self) -> list[Variant]:
        """Every one of them, along the temperature first."""
        walked = list(self.temperatures) or [self.base]
        return [*walked, *([self.more] if self.more else [])]


def walk(name: str, settings: Mapping[str, Any], samples: int | None) -> Walk:
    """Build the variants of the estimator called ``name``.

    Args:
        name: of the catalogue, ``module:name`` or ``path/to/file.py:name``.
        settings: its own; a list for the temperature is walked, one number is kept.
        samples: z in one estimate; None looks at the default and at twice that.

    Raises:
        BenchbedError: the estimator cannot be built as asked.
    """
    plain = dict(settings)
    if samples is not None:
        at_least(name, "samples", samples, 1)
        if not takes_samples({"name": name} | plain):
            raise BadArgument(f"{name} takes no samples; leave --samples out")
        plain["samples"] = samples
    known = _known(name)
    knob = next((key for key in KNOBS if key in known and not _fixed(plain.get(key))), "")
    values = _values(plain.pop(knob, None)) if knob else ()
    notes = []
    warm: list[Variant] = []
    for value in values:
        try:
            built = build_estimator(name, **plain, **{knob: value})
        except BenchbedError as error:
            notes.append(f"left out {knob}={value}: {error}")
            continue
        warm.append(Variant(f"{knob}={value:g}", built, float(value)))
    if warm:
        base = min(warm, key=lambda variant: abs(variant.temperature - TYPICAL))
        plain[knob] = base.temperature
    else:
        base = Variant("", build_estimator(name, **plain))
    more = None
    if samples is None and "samples" not in plain and takes_samples({"name": name} | plain):
        more = _doubled(name, plain, base, notes)
    cold = base.estimator
    if warm and min(variant.temperature for variant in warm) >= COLD:
        cold = _attempt(name, plain | {knob: COLD}) or cold
    return Walk(
        base=base,
        temperatures=tuple(warm),
        more=more,
        cold=cold,
        counts=_counts(name, settings),
        listed=name in ESTIMATORS,
        notes=tuple(notes),
    )


def _known(name: str) -> dict[str, Any]:
    try:
        return settings_of(find("estimator", name, ESTIMATORS))
    except ValueError:  # written in C
        return {}


def _fixed(given: object) -> bool:
    """Say whether a setting was given and is not a list to walk over."""
    return given is not None and not isinstance(given, list)


def _values(given: list[float] | None) -> Sequence[float]:
    if given is None:
        return TEMPERATURES
    if not given or not all(isinstance(x, int | float) for x in given):
        raise BadArgument(f"a list of temperatures holds numbers, got {given}; such as [0.1, 1.0]")
    return given


def _doubled(name: str, plain: dict[str, Any], base: Variant, notes: list[str]) -> Variant | None:
    more = 2 * base.estimator.samples
    try:
        built = build_estimator(name, **plain, samples=more)
    except BenchbedError as error:
        notes.append(f"left out samples={more}: {error}")
        return None
    label = " ".join(part for part in (base.label, f"samples={more}") if part)
    return Variant(label, built)


def _attempt(name: str, settings: dict[str, Any]) -> Estimator | None:
    try:
        return build_estimator(name, **settings)
    except BenchbedError:
        return None


def _counts(name: str, settings: Mapping[str, Any]) -> bool:
    """Say whether the number of calls of J is the estimator's own word.

    A draw function cannot say it, and a surrogate only by its setting ``evaluations``.
    """
    kind = settings.get("as")
    if kind is None:
        from benchbed.catalogue.build import is_draw

        return not is_draw(find("estimator", name, ESTIMATORS))
    return kind == "sampler" or "evaluations" in settings
