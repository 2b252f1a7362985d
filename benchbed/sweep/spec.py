"""The sweep file: YAML, checked key by key before anything runs. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from benchbed.errors import BadSpec, nearest

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
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    question: str = ""
    objectives: Entries
    estimators: Entries
    samples: Annotated[
        list[Annotated[int, Field(ge=1)]] | None, BeforeValidator(_listed), Field(min_length=1)
    ] = None
    seeds: Annotated[
        list[Annotated[int, Field(ge=0)]], BeforeValidator(_seeds), Field(min_length=1)
    ] = [0]  # noqa: RUF012  (pydantic copies it)
    draws: Annotated[int, Field(ge=4)] = 65_536
    blocks: Annotated[int, Field(ge=2)] = 64
    dtype: Literal["float32", "float64"] = "float32"
    device: Annotated[str, Field(pattern=r"^(cpu|cuda(:\d+)?)$")] = "cpu"
    impossible: Literal["error", "skip"] = "error"
    independent: bool = False
    timing: Annotated[int, Field(ge=0, le=100)] = 5


def read_spec(path: str | Path) -> Spec:
    """Read and check a sweep file.

    Raises:
        BadSpec: one line with the place in the file, what is wrong and the nearest valid key.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadSpec(f"{path} cannot be read: {error}") from None
    return parse_spec(text, str(path))


def parse_spec(text: str, path: str = "spec") -> Spec:
    """Check a sweep given as YAML text; ``path`` is what errors call it."""
    try:
        tree = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise BadSpec(f"{path}{line}: {error.problem or 'this is not YAML'}") from None
    except YAMLError as error:
        raise BadSpec(f"{path}: this is not YAML: {error}") from None
    if not isinstance(tree, dict):
        raise BadSpec(f"{path}: a sweep is a mapping with name, objectives and estimators")
    for key in tree:
        if key not in Spec.model_fields:
            line = tree.lc.key(key)[0] + 1
            known = ", ".join(Spec.model_fields)
            hint = nearest(str(key), Spec.model_fields)
            raise BadSpec(f"{path}:{line}: unknown key '{key}'{hint}; keys are {known}")
    _check_entries(tree, path)
    try:
        return Spec.model_validate(_plain(tree))
    except ValidationError as error:
        problems = error.errors()
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        first = problems[0]
        line = _line(tree, first["loc"])
        place = ".".join(str(part) for part in first["loc"] if not str(part).startswith("list["))
        given = "" if first["type"] == "missing" else f", got {first['input']!r}"
        raise BadSpec(f"{path}:{line}: {place}: {first['msg'].lower()}{given}{more}") from None


def _check_entries(tree: Any, path: str) -> None:
    for key in ("objectives", "estimators"):
        value = tree.get(key)
        for entry in value if isinstance(value, list) else [value]:
            if isinstance(entry, dict) and not isinstance(entry.get("name"), str):
                line = entry.lc.line + 1
                raise BadSpec(f"{path}:{line}: an entry of {key} needs a name, got {_plain(entry)}")


def _line(tree: Any, place: tuple[int | str, ...]) -> int:
    """Return the line of the deepest part of ``place`` that is in the file."""
    line, node = 1, tree
    for part in place:
        if isinstance(node, dict) and part in node:
            line = node.lc.key(part)[0] + 1
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            line = node.lc.item(part)[0] + 1
        else:
            break
        node = node[part]
    return line


def _plain(value: Any) -> Any:
    """Turn the loader's annotated types into plain ones."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value
