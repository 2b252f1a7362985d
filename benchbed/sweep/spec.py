"""What a sweep asks for, key by key. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)
from pydantic_core import PydanticCustomError

Entry = dict[str, Any]  # name and settings; a setting that is a list is a grid axis


def _entries(value: Any) -> Any:
    """Let a bare name stand for ``{name: ...}`` and a single entry for a list of one."""
    listed = value if isinstance(value, list) else [value]
    return [{"name": item} if isinstance(item, str) else item for item in listed]


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) or value is None else [value]


def _seeds(value: Any) -> Any:
    """Let a count stand for 0, 1, ... count - 1."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return list(range(value))
    return value


Entries = Annotated[list[Entry], BeforeValidator(_entries), Field(min_length=1)]


class Spec(BaseModel):
    """What a sweep asks for. Every list is a grid axis.

    Attributes:
        name: of the results folder and the report.
        question: what the sweep answers, in a sentence; shown on the page.
        objectives: names, or mappings of a name and settings.
        estimators: likewise; ``samples`` in an entry overrides the sweep's.
        samples: z in one estimate; left out, each estimator's own default.
        seeds: a count, or a list of seeds.
        draws: independent estimates for each cell and seed.
        blocks: independent streams the draws are split into.
        dtype: of the draws.
        device: cpu, cuda, cuda:1 ...
        impossible: ``error`` refuses a grid with pairs that cannot work, ``skip`` leaves them out.
        independent: give every estimator its own noise instead of common random numbers.
        timing: alternations with the reference kernel for each cell; 0 for none.
        compile: compile the draws of every estimator that can be; other last digits.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    question: str = ""
    objectives: Entries
    estimators: Entries
    samples: Annotated[
        Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] | None,
        BeforeValidator(_listed),
    ] = None
    seeds: Annotated[
        list[Annotated[int, Field(ge=0)]], BeforeValidator(_seeds), Field(min_length=1)
    ] = [0]
    draws: Annotated[int, Field(ge=4)] = 65_536
    blocks: Annotated[int, Field(ge=2)] = 64
    dtype: Literal["float32", "float64"] = "float32"
    device: Annotated[str, Field(pattern=r"^(cpu|cuda(:\d+)?)$")] = "cpu"
    impossible: Literal["error", "skip"] = "error"
    independent: bool = False
    timing: Annotated[int, Field(ge=0, le=100)] = 5
    compile: bool = False

    @model_validator(mode="after")
    def _enough_draws(self) -> Spec:
        """Refuse blocks of less than two draws: no interval comes of them."""
        if self.draws < 2 * self.blocks:
            raise PydanticCustomError(
                "draws",
                "{draws} draws cannot fill {blocks} blocks of at least 2; write draws: {least}, "
                "or blocks: {most}",
                {
                    "draws": self.draws,
                    "blocks": self.blocks,
                    "least": 2 * self.blocks,
                    "most": self.draws // 2,
                },
            )
        return self
