"""A spec is read as meant, or refused in one line that says where, why and what to write."""

from __future__ import annotations

import pytest

from benchbed.errors import BadSpec
from benchbed.sweep.spec import Spec
from benchbed.sweep.spec_file import EXAMPLES, parse_spec, read_spec

LEAST = "name: small\nobjectives: quadratic\nestimators: score_function\n"


def refusal(text: str) -> str:
    with pytest.raises(BadSpec) as caught:
        parse_spec(text, "s.yaml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestReading:
    def test_names_and_single_entries_are_short_for_lists(self):
        spec = parse_spec(LEAST)
        assert spec.objectives == [{"name": "quadratic"}]
        assert spec.estimators == [{"name": "score_function"}]
        assert (spec.seeds, spec.draws, spec.blocks, spec.timing) == ([0], 65_536, 64, 5)

    @pytest.mark.parametrize(
        ("line", "wanted"),
        [
            ("seeds: 5", [0, 1, 2, 3, 4]),
            ("seeds: [7, 3]", [7, 3]),
            ("seeds: [0]", [0]),
            ("samples: 4", [4]),
            ("samples: [1, 4]", [1, 4]),
            ("draws: 1e5", 100_000),
            ("draws: 100_000", 100_000),
            ("independent: true", True),
            ("question: why?", "why?"),
        ],
    )
    def test_values(self, line, wanted):
        assert getattr(parse_spec(f"{LEAST}{line}\n"), line.partition(":")[0]) == wanted

    def test_settings_that_are_lists_stay_lists(self):
        entry = "{name: gumbel_softmax, temperature: [0.1, 1], samples: 2}"
        spec = parse_spec(LEAST.replace("score_function", entry))
        wanted = {"name": "gumbel_softmax", "temperature": [0.1, 1], "samples": 2}
        assert spec.estimators == [wanted]
        assert type(spec.estimators[0]["temperature"][0]) is float

    @pytest.mark.parametrize(
        "encode",
        [
            lambda text: b"\xef\xbb\xbf" + text.encode(),
            lambda text: text.replace("\n", "\r\n").encode(),
            lambda text: b"\xef\xbb\xbf# caf\xc3\xa9\r\n" + text.replace("\n", "\r\n").encode(),
        ],
        ids=["byte order mark", "Windows lines", "both"],
    )
    def test_files_from_windows(self, tmp_path, encode):
        path = tmp_path / "s.yaml"
        path.write_bytes(encode(LEAST))
        assert read_spec(path) == parse_spec(LEAST)

    def test_every_key_has_an_example_that_works(self):
        assert set(EXAMPLES) == set(Spec.model_fields)
        for key, example in EXAMPLES.items():
            lines = [line for line in LEAST.splitlines() if not line.startswith(f"{key}:")]
            for choice in example.split(" or "):
                parse_spec("\n".join([*lines, choice.partition(" (")[0]]))


class TestRefusals:
    @pytest.mark.parametrize(
        ("line", "says"),
        [
            ("drws: 5", "s.yaml:4: unknown key 'drws', did you mean 'draws'?; keys are name"),
            ("samples: 0", "s.yaml:4: samples.0: "),
            ("samples: [1, -2]", "s.yaml:4: samples.1: "),
            ("draws: abc", "got 'abc'; write for instance 'draws: 65536'"),
            ("draws: 1.5", "s.yaml:4: draws: "),
            ("draws: 8", "8 draws cannot fill 64 blocks of at least 2; write draws: 128"),
            ("blocks: 1", "s.yaml:4: blocks: "),
            ("seeds: 0", "s.yaml:4: seeds: input should be a valid list, got 0; write for"),
            ("seeds: []", "s.yaml:4: seeds: "),
            ("seeds: -1", "got -1"),
            ("dtype: float16", "input should be 'float32' or 'float64', got 'float16'"),
            ("device: gpu", "got 'gpu'; write for instance 'device: cpu'"),
            ("impossible: maybe", "input should be 'error' or 'skip', got 'maybe'"),
            ("timing: -1", "s.yaml:4: timing: "),
            ("independent: perhaps", "got 'perhaps'"),
            ("name: b", 's.yaml:4: found duplicate key "name"'),
            ("3: 4", "s.yaml:4: unknown key '3'"),
            ("\tdraws: 8", "s.yaml:4: "),
        ],
    )
    def test_a_line_that_cannot_work(self, line, says):
        text = refusal(f"{LEAST}{line}\n")
        assert says in text
        assert text.startswith("s.yaml:4: ")

    @pytest.mark.parametrize(
        ("entry", "says"),
        [
            ("{dimensions: 3}", "s.yaml:2: an entry of objectives needs a name, got {'dimensions'"),
            ("[quadratic, {dimensions: 3}]", "s.yaml:2: an entry of objectives needs a name"),
            ("{name: [quadratic, smooth]}", "s.yaml:2: an entry of objectives needs a name"),
            ("", "s.yaml:2: objectives.0: input should be a valid dictionary, got None"),
            ("[]", "s.yaml:2: objectives: "),
            ("[3]", "objectives.0: input should be a valid dictionary, got 3"),
            ("{name: quadratic, dimensions: []}", "quadratic: dimensions is an empty list"),
            ("[{name: quadratic, dimensions: 2020-01-01}]", "dimensions: a date is no setting"),
        ],
    )
    def test_an_entry_that_cannot_work(self, entry, says):
        assert says in refusal(LEAST.replace("quadratic", entry))

    def test_the_line_is_that_of_the_entry(self):
        text = (
            "name: a\nestimators: exact\nobjectives:\n  - quadratic\n  - {name: coupled}\n  - 7\n"
        )
        assert refusal(text).startswith("s.yaml:6: objectives.2: ")

    @pytest.mark.parametrize("key", ["name", "objectives", "estimators"])
    def test_a_key_that_is_missing(self, key):
        lines = [line for line in LEAST.splitlines() if not line.startswith(key)]
        text = refusal("\n".join(lines))
        assert f"{key}: field required; write for instance '{key}: " in text

    def test_several_mistakes_are_one_line_with_every_place(self):
        text = refusal(f"{LEAST}draws: abc\nblocks: 1\ntiming: x\n")
        assert text.startswith("s.yaml:4: draws: ")
        assert text.endswith(" (and 2 more: line 5, 6)")

    @pytest.mark.parametrize("name", ["../up", "a/b", "''", ".hidden", "a b", "3"])
    def test_a_name_that_is_no_folder(self, name):
        assert "s.yaml:1: name: " in refusal(LEAST.replace("small", name))

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("", "it is empty; a sweep is a mapping"),
            ("# nothing\n", "it is empty"),
            ("hello\n", "got a str; a sweep is a mapping"),
            ("- a\n- b\n", "got a list"),
            ("name: [a\n", "s.yaml:2: "),
            ("name: a\n\tobjectives: b\n", "indent with spaces"),
            ("name: a: b\n", "s.yaml:1: "),
            ("a: \x00\n", "s.yaml: this is not YAML"),
        ],
    )
    def test_text_that_is_no_spec(self, text, says):
        assert says in refusal(text)

    def test_tags_make_no_objects(self):
        text = LEAST.replace("quadratic", "!!python/object/apply:os.getcwd []")
        assert refusal(text).startswith("s.yaml:2: objectives: ")

    def test_a_file_that_cannot_be_read(self, tmp_path):
        (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01")
        for path, says in (
            (tmp_path / "none.yaml", "No such file or directory"),
            (tmp_path, "Is a directory"),
            (tmp_path / "binary.yaml", "not text in UTF-8"),
        ):
            with pytest.raises(BadSpec, match=says) as caught:
                read_spec(path)
            assert str(path) in str(caught.value)
