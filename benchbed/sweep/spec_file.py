"""The sweep file as text: read, and refused line by line. Imports no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from benchbed.errors import BadSpec, nearest
from benchbed.sweep.spec import Spec

EXAMPLES = {  # what an error shows of a key
    "name": "name: quick",
    "question": "question: Which is the least noisy?",
    "objectives": "objectives: [quadratic]",
    "estimators": "estimators: [score_function, {name: leave_one_out, samples: [2, 4]}]",
    "samples": "samples: [1, 4]",
    "seeds": "seeds: 5 (for 0 to 4) or seeds: [0, 7]",
    "draws": "draws: 65536",
    "blocks": "blocks: 64",
    "dtype": "dtype: float32",
    "device": "device: cpu",
    "impossible": "impossible: skip",
    "independent": "independent: true",
    "timing": "timing: 5",
    "compile": "compile: true",
}


def read_spec(path: str | Path) -> Spec:
    """Read and check a sweep file.

    Raises:
        BadSpec: one line with the place in the file, what is wrong and what to write.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BadSpec(
            f"{path} cannot be read ({error.strerror}); name a sweep file such as "
            "experiments/quick.yaml"
        ) from None
    except UnicodeDecodeError:
        raise BadSpec(f"{path} is not text in UTF-8; name a sweep file in YAML") from None
    return parse_spec(text, str(path))


def parse_spec(text: str, path: str = "spec") -> Spec:
    """Check a sweep given as YAML text; ``path`` is what errors call it."""
    tree = _loaded(text, path)
    for key in tree:
        if key not in Spec.model_fields:
            known = ", ".join(Spec.model_fields)
            hint = nearest(str(key), Spec.model_fields)
            line = tree.lc.key(key)[0] + 1
            raise BadSpec(f"{path}:{line}: unknown key '{key}'{hint}; keys are {known}")
    for key in ("objectives", "estimators"):
        _check_entries(tree, key, path)
    try:
        return Spec.model_validate(_plain(tree))
    except ValidationError as error:
        first, *others = error.errors()
        more = ""
        if others:
            lines = sorted({_line(tree, problem["loc"]) for problem in others})
            more = f" (and {len(others)} more: line {', '.join(map(str, lines))})"
        line = _line(tree, first["loc"] or ("draws",))
        raise BadSpec(f"{path}:{line}: {_worded(first)}{more}") from None


def _loaded(text: str, path: str) -> Any:
    """Return the mapping that ``text`` holds, with the lines its parts stand in."""
    try:
        tree = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        advice = "; indent with spaces" if "\\t" in str(error.problem) else ""
        raise BadSpec(f"{path}{line}: {error.problem or 'this is not YAML'}{advice}") from None
    except (YAMLError, ValueError) as error:
        raise BadSpec(f"{path}: this is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        what = "it is empty" if tree is None else f"got a {_kind(tree)}"
        raise BadSpec(
            f"{path}: {what}; a sweep is a mapping with name, objectives and estimators, "
            "such as experiments/quick.yaml"
        )
    return tree


def _worded(problem: ErrorDetails) -> str:
    """Say which value cannot work, why, and how one is written."""
    if not problem["loc"]:
        return problem["msg"]
    place = ".".join(str(part) for part in problem["loc"])
    given = "" if problem["type"] == "missing" else f", got {problem['input']!r}"
    return (
        f"{place}: {problem['msg'][:1].lower()}{problem['msg'][1:]}{given}; "
        f"write for instance '{EXAMPLES[str(problem['loc'][0])]}'"
    )


def _check_entries(tree: Any, key: str, path: str) -> None:
    """Refuse entries without a name, and settings that no cell could be made of."""
    value = tree.get(key)
    for entry in value if isinstance(value, list) else [value]:
        if not isinstance(entry, CommentedMap):
            continue
        place = f"{path}:{entry.lc.line + 1}"
        if not isinstance(entry.get("name"), str):
            raise BadSpec(
                f"{place}: an entry of {key} needs a name, got {_plain(entry)}; "
                f"write for instance '{EXAMPLES[key]}'"
            )
        for setting, given in entry.items():
            line = f"{path}:{_line(tree, (key,)) if entry is value else _line(entry, (setting,))}"
            if isinstance(given, list) and not given:
                raise BadSpec(
                    f"{line}: {entry['name']}: {setting} is an empty list; give it a value, "
                    "or take it out"
                )
            try:
                json.dumps(_plain(given))
            except TypeError:
                raise BadSpec(
                    f"{line}: {entry['name']}: {setting}: a {_kind(given)} is no setting, "
                    f"got {given}; write a number, a word in quotes or a list"
                ) from None


def _kind(value: Any) -> str:
    return type(_plain(value)).__name__


def _line(tree: Any, place: tuple[int | str, ...]) -> int:
    """Return the line of the deepest part of ``place`` that is in the file."""
    line, node = 1, tree
    for part in place:
        if isinstance(node, CommentedMap) and part in node:
            line = node.lc.key(part)[0] + 1
        elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
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
