"""The job file: every error at once, each with its file, line and field, in words that a person can act on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.errors import UserError
from scheduler.job import Job
from scheduler.job_file import load_job, parse_override
from scheduler.learning_spec import TrainingSpec
from workers.data.csv_source import CsvSource
from workers.data.libsvm_source import LibsvmSource
from workers.data.named_source import BUNDLED, FETCHED, NamedSource, OpenmlSource
from workers.data.numpy_source import NpySource, NpzSource
from workers.data.parquet_source import ParquetSource

VALID = """\
name: my-job
data:
  bundled: diabetes
test_fraction: 0.25
model:
  objective: squared
  l2: 1e-3
training:
  solver: local-sgd
  rounds: 7
  learning_rate: 0.05
  schedule: inverse-sqrt
shards: 6
workers:
  min: 2
  max: 3
  bundle: {cpu: 0.5, gpu: 0, memory: 64MiB}
policy: {balance: round-robin}
output: out/here
"""
LEAST = "name: j\ndata: {bundled: diabetes}\nmodel: {objective: squared}\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "job.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def errors_of(folder: Path, text: str, overrides: dict[str, Any] | None = None) -> list[str]:
    """Return the lines of the error, without the file's folder."""
    with pytest.raises(UserError) as caught:
        load_job(write(folder, text), overrides)
    message = str(caught.value)
    for jargon in ("type=", "https://", "pydantic", "dict[", "constrained", "instance of", "<class", "Value error"):
        assert jargon not in message
    return message.replace(f"{folder}{os.sep}", "").splitlines()


def test_a_whole_file(tmp_path: Path) -> None:
    job = load_job(write(tmp_path, VALID))
    assert (job.name, job.data.bundled, job.test_fraction, job.shards) == ("my-job", "diabetes", 0.25, 6)
    assert (job.model.objective, job.model.l2, job.model.intercept) == ("squared", 0.001, True)
    assert (job.training.solver, job.training.rounds, job.training.learning_rate) == ("local-sgd", 7, 0.05)
    assert job.workers.gang == (2, 3)
    assert job.workers.bundle.resources().memory == 64 * 1024**2
    assert job.policy == {"balance": "round-robin"}
    assert job.output == Path("out/here")


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    job = load_job(write(tmp_path, LEAST))
    assert (job.policy, job.output, job.training.learning_rate) == ("equal", Path("runs/j"), "auto")
    assert job.workers.gang == (1, 2)


def test_a_name_that_looks_like_a_date_is_text(tmp_path: Path) -> None:
    assert load_job(write(tmp_path, LEAST.replace("name: j", "name: 2024-01-31"))).name == "2024-01-31"


@pytest.mark.parametrize(("prefix", "newline"), [("\ufeff", "\n"), ("", "\r\n"), ("---\n", "\n")])
def test_what_other_editors_write(tmp_path: Path, prefix: str, newline: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes((prefix + LEAST).replace("\n", newline).encode())
    assert load_job(path).name == "j"


def test_every_error_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """\
name: ../x
data: {bundled: diabets}
model:
  objectve: squared
  objective: squarred
training:
  solver: exactt
  schedule: constnt
  rounds: -3
  tolerance: .nan
  learning_rate: .inf
  l2: 3
shards: many
workers:
  bundle:
    cpu: -1
    gpu: .nan
    memory: lots
polcy: equal
"""
    keys = "name, data, test_fraction, validation_fraction, split, model, training, shards, workers, "
    keys += "recovery, policy, output"
    options = ", ".join(TrainingSpec.model_fields)
    sets = ", ".join(BUNDLED | FETCHED)
    plain = "must be 1 to 64 letters, digits, '.', '_' or '-' of ASCII, a letter or digit first"
    amount = "must be an amount of memory, such as 512MiB or 2GiB"
    rate = "must be 'auto' or a finite number greater than 0"
    got = errors_of(tmp_path, text)
    shortened = [line.partition(" The choices are")[0] if "objective:" in line else line for line in got]
    shortened = [line.partition(" The choices are")[0] if "solver:" in line else line for line in shortened]
    assert shortened == [
        f"job.yaml:1: name: {plain}, got '../x'",
        f"job.yaml:2: data.bundled: unknown data set 'diabets'. Did you mean 'diabetes'? The choices are {sets}.",
        "job.yaml:4: model.objectve: unknown key 'objectve'. Did you mean 'objective'? "
        "The choices are objective, l2, l1, intercept, hidden, activation, torch, torch_arguments.",
        "job.yaml:5: model.objective: unknown objective 'squarred'. Did you mean 'squared'?",
        "job.yaml:7: training.solver: unknown solver 'exactt'. Did you mean 'exact'?",
        "job.yaml:8: training.schedule: unknown schedule 'constnt'. Did you mean 'constant'? "
        "The choices are auto, constant, inverse-sqrt, inverse.",
        "job.yaml:9: training.rounds: must be greater than or equal to 1, got -3",
        "job.yaml:10: training.tolerance: must be a finite number, got nan",
        f"job.yaml:11: training.learning_rate: {rate}, got inf",
        f"job.yaml:12: training.l2: unknown key 'l2'. The choices are {options}.",
        "job.yaml:13: shards: must be a whole number, got 'many'",
        "job.yaml:16: workers.bundle.cpu: must be greater than or equal to 0, got -1",
        "job.yaml:17: workers.bundle.gpu: must be a finite number, got nan",
        f"job.yaml:18: workers.bundle.memory: {amount}, got 'lots'",
        f"job.yaml:19: polcy: unknown key 'polcy'. Did you mean 'policy'? The choices are {keys}.",
    ]


def test_wrong_types_everywhere(tmp_path: Path) -> None:
    text = """\
name: 3
data: [1]
model: squared
training:
workers: 2
shards: true
test_fraction: 1
policy: 3
output: 4
"""
    options = ", ".join(TrainingSpec.model_fields)
    assert errors_of(tmp_path, text) == [
        "job.yaml:1: name: must be text, got 3",
        "job.yaml:2: data: must be a mapping of bundled, openml, csv, parquet, libsvm, npy, npz, target, weight, "
        "class_weight, missing, text, dtype, num_features, zero_based, data_home, got [1]",
        "job.yaml:3: model: must be a mapping of objective, l2, l1, intercept, hidden, activation, torch, "
        "torch_arguments, got 'squared'",
        f"job.yaml:4: training: must be a mapping of {options}, got nothing",
        "job.yaml:5: workers: must be a mapping of count, min, max, bundle, labels, got 2",
        "job.yaml:6: shards: got true (yes, no, on and off mean true and false); quote what is text",
        "job.yaml:7: test_fraction: must be less than 1, got 1",
        "job.yaml:8: policy: must be a name, or a mapping of order, place and balance, got 3",
        "job.yaml:9: output: must be a path, got 4",
    ]


def test_missing_sections(tmp_path: Path) -> None:
    assert errors_of(tmp_path, "shards: 3\n") == [
        "job.yaml:1: name: is missing; it is needed",
        "job.yaml:1: data: is missing; it is needed",
        "job.yaml:1: model: is missing; it is needed",
    ]


ONE_ERROR = {
    "model: {objective: null}": "model.objective: must be a name, or a name with options",
    "model: {objective: squared, intercept: maybe}": "model.intercept: must be true or false, got 'maybe'",
    "model: {objective: squared, l2: -1}": "model.l2: must be greater than or equal to 0, got -1",
    "model: {}": "model.objective: is missing; it is needed",
    "training: {batch_size: 1.5}": "training.batch_size: must be a whole number, got 1.5",
    "training: {rounds: 1e3}": "training.rounds: must be a whole number, got '1e3'",
    "training: {seed: -1}": "training.seed: must be greater than or equal to 0, got -1",
    "training: {seed: 4294967296}": "training.seed: must be less than 4294967296, got 4294967296",
    "training: {tolerance: 1}": "training.tolerance: must be less than 1, got 1",
    "training: {tolerance: -0.1}": "training.tolerance: must be greater than or equal to 0, got -0.1",
    "training: {learning_rate: fast}": "'auto' or a finite number greater than 0, got 'fast'",
    "training: {learning_rate: 0}": "'auto' or a finite number greater than 0, got 0",
    "training: {learning_rate: [1]}": "'auto' or a finite number greater than 0, got [1]",
    "training: {3: 4}": "training.3: keys should be strings, got 3",
    "shards: 0": "shards: must be greater than or equal to 1, got 0",
    "shards: .inf": "shards: must be a finite number, got inf",
    "test_fraction: 1.0": "test_fraction: must be less than 1, got 1.0",
    "test_fraction: -0.1": "test_fraction: must be greater than or equal to 0, got -0.1",
    "workers: {min: 4, max: 2}": "workers: min is 4, but max is 2",
    "workers: {count: 4, min: 2}": "workers: give either 'count' or 'min' and 'max'",
    "workers: {count: 4, max: 2}": "workers: give either 'count' or 'min' and 'max'",
    "workers: {count: 0}": "workers.count: must be greater than or equal to 1, got 0",
    "workers: {bundle: {gpu: 1.5}}": "bundle.gpu: must be a whole number, or a part of one GPU (at most 1), got 1.5",
    "workers: {bundle: {cpu: .inf}}": "workers.bundle.cpu: must be a finite number, got inf",
    "workers: {bundle: {memory: 0}}": "workers.bundle.memory: must be more than 0 bytes, got 0",
    "workers: {bundle: {memory: -5MiB}}": "such as 512MiB or 2GiB, got '-5MiB'",
    "workers: {bundle: {memory: 64 potatoes}}": "such as 512MiB or 2GiB, got '64 potatoes'",
    "workers: {bundle: {memory: .nan}}": "such as 512MiB or 2GiB, got nan",
    "workers: {bundle: {memory: yes}}": "workers.bundle.memory: got true (yes,",
    "workers: {labels: spot}": "workers.labels: must be a mapping of labels to values, got 'spot'",
    "workers: {labels: {rack: 7}}": "workers.labels: the value of label 'rack' must be text, got 7; quote numbers",
    "workers: {labels: {rack: [r1, no]}}": "the value of label 'rack' must be text, got false; quote numbers, yes and",
    "workers: {labels: {rack: []}}": "workers.labels: label 'rack' needs a value, or a list of some, got []",
    "workers: {labels: {rack: ''}}": "workers.labels: the value of label 'rack' must be text, got ''",
    "workers: {labels: {rack: }}": "workers.labels: the value of label 'rack' must be text, got nothing",
    "workers: {labels: {rack: {a: b}}}": "workers.labels: the value of label 'rack' must be text, got {'a': 'b'}",
    "workers: {labels: {3: x}}": "workers.labels: a label must be text, got 3",
    "model: {objective: {huber: {delta: .inf}}}": "objective 'huber': delta must be a finite number, got inf",
    "model: {objective: {huber: {delta: yes}}}": "objective 'huber': delta must be a finite number, got true",
    "training: {server: {adam: {rate: .nan}}}": "server optimiser 'adam': rate must be a finite number, got nan",
    "training: {aggregation: {krum: {fraction: '0.2'}}}": "'krum': fraction must be a finite number, got '0.2'",
    "training: {mode: spp}": "training.mode: unknown mode 'spp'. Did you mean 'ssp'? The choices are synchronous, asp,",
    "training: {mode: {ssp: {staleness: 1.5}}}": "mode: staleness must be a whole number of at least 0, got 1.5",
    "training: {mode: {ssp: {drop: 1}}}": "training.mode: mode 'ssp' has other options: damping, staleness, got drop",
    "training: {mode: {synchronous: {drop: 1}}}": "mode 'synchronous' has other options: none, got drop",
    "training: {mode: {asp: {damping: -1}}}": "training.mode: damping must be at least 0, got -1",
    "training: {mode: [asp]}": "training.mode: must be a name, or a name with options",
    "training: {local_steps: 0}": "training.local_steps: must be greater than or equal to 1, got 0",
    "policy: {balance: {capacity-proportional: {weights: {cpu: .inf}}}}": "policy: must be plain: text, finite numbers",
    "policy:": "policy: must be a name, or a mapping of order, place and balance, got nothing",
    "policy: {3: fifo}": "policy: must be a name, or a mapping of order, place and balance, got {3: 'fifo'}",
    'output: "a\\0b"': "output: must be a path, got 'a\\x00b'",
    'output: "\\uD800"': "output: must be a path, got '\\ud800'",
    "'[red]x': 1": "[red]x: unknown key '[red]x'. The choices are name,",
}


@pytest.mark.parametrize("line", ONE_ERROR)
def test_one_error(tmp_path: Path, line: str) -> None:
    text = LEAST.replace("model: {objective: squared}\n", "") if line.startswith("model") else LEAST
    (error,) = errors_of(tmp_path, f"{text}{line}\n")
    assert error.startswith(f"job.yaml:{text.count(chr(10)) + 1}: ")
    assert ONE_ERROR[line] in error


def test_labels_have_one_value_or_several(tmp_path: Path) -> None:
    labels = "{apportion.dev/market: on-demand, zone: [a, b]}"
    workers = load_job(write(tmp_path, f"{LEAST}workers: {{labels: {labels}}}\n")).workers
    assert workers.labels == {"apportion.dev/market": ("on-demand",), "zone": ("a", "b")}
    assert load_job(write(tmp_path, LEAST)).workers.labels == {}


@pytest.mark.parametrize("name", ["../x", "''", "a/b", ".hidden", "'a\\n'", "-x", "'ä'", "a" * 65, "a b"])
def test_names_that_are_no_folder_names(tmp_path: Path, name: str) -> None:
    (error,) = errors_of(tmp_path, LEAST.replace("name: j", f"name: {name}"))
    assert error.startswith("job.yaml:1: name: must be 1 to 64 letters, digits, '.', '_' or '-' of ASCII")


@pytest.mark.parametrize(
    ("memory", "num_bytes"),
    [("64MiB", 64 * 1024**2), ("2GiB", 2 * 1024**3), ("1.5 kB", 1500), ("1000", 1000), ("10b", 10)],
)
def test_amounts_of_memory(tmp_path: Path, memory: str, num_bytes: int) -> None:
    job = load_job(write(tmp_path, f"{LEAST}workers: {{bundle: {{memory: {memory}}}}}\n"))
    assert job.workers.bundle.memory == num_bytes


ONE_OF = "data: give exactly one of bundled, openml, csv, parquet, libsvm, npy, npz"


def test_sources(tmp_path: Path) -> None:
    (tmp_path / "rows").write_text("")
    (tmp_path / "parts").mkdir()
    path, home = tmp_path / "rows", str(tmp_path / "home")
    for data, source in {
        "bundled: covtype, data_home: home": NamedSource("covtype", data_home=home),
        "openml: adult@2, dtype: float32": OpenmlSource("adult@2", "float32"),
        "csv: rows, target: a": CsvSource(path, "a"),
        "parquet: rows, target: a, weight: w, text: one-hot, missing: mean": ParquetSource(
            path, "a", "mean", "one-hot", "w"
        ),
        "parquet: parts, target: a": ParquetSource(tmp_path / "parts", "a"),
        "libsvm: rows, zero_based: true, num_features: 7": LibsvmSource(path, 7, zero_based=True),
        "npy: rows, target: 3": NpySource(path, 3),
        "npz: rows": NpzSource(path),
    }.items():
        text = f"name: j\ndata: {{{data}}}\nmodel: {{objective: squared}}\n"
        assert load_job(write(tmp_path, text)).data.source() == source


DATA_ERRORS = {
    "bundled: iris, csv: rows.csv, target: a": ONE_OF + "; got bundled, csv",
    "target: a": ONE_OF + "; got none",
    "bundled: iris, target: a": "data: bundled has its own target; leave 'target' out",
    "npz: rows.csv, target: a": "data: npz has its own target; leave 'target' out",
    "csv: rows.csv": "data: csv needs 'target', the name of the column to predict",
    "csv: rows.csv, target: 3": "data: csv needs 'target', the name of the column to predict",
    "csv: rows.csv, target: [a]": "data.target: must be a column's name (csv, parquet) or number (npy), got ['a']",
    "csv: rows.csv, target: no": "data.target: got false (yes, no, on and off mean true and false); quote",
    "npy: rows.csv, target: a": "data: npy needs 'target' as a column number",
    "bundled: iris, missing: drop": "data: 'missing: drop' is for csv and parquet only",
    "bundled: iris, missing: mean": "data: nothing may be missing in bundled data",
    "npz: rows.csv, text: drop": "data: 'text' is for csv and parquet only",
    "openml: iris@x": "data.openml: openml: got 'iris@x'. Give NAME or NAME@VERSION",
    "openml: iris@1, target: a": "data: openml has its own target; leave 'target' out",
    "bundled: iris, zero_based: true": "data: 'num_features' and 'zero_based' are for libsvm only",
    "csv: rows.csv, target: a, data_home: here": "data: 'data_home' is for bundled and openml only",
    "parquet: .": "data: parquet needs 'target', the name of the column to predict",
    "libsvm: rows.csv, weight: w": "data: the rows of libsvm data have no weights",
    "libsvm: rows.csv, num_features: 0": "data.num_features: must be greater than or equal to 1, got 0",
    "bundled: iris, weight: 3": "data: the rows of bundled data have no weights",
    "npz: rows.csv, weight: w": "data: npz takes the weights from its array 'weights'",
    "npy: rows.csv, weight: w": "data: npy needs 'weight' as a column number",
    "csv: rows.csv, target: a, weight: 1": "data: csv needs 'weight' as the name of a column",
    "csv: rows.csv, target: a, weight: [b]": "data.weight: must be a column's name (csv, parquet) or number (npy), got",
    "bundled: iris, dtype: float16": "data.dtype: must be 'auto', 'float32' or 'float64', got 'float16'",
    "bundled: iris, class_weight: balance": "data.class_weight: must be 'balanced', or a mapping of labels to weights",
    "bundled: iris, class_weight: {yes: 1}": "data.class_weight: the label true must be text or a whole number",
    "bundled: iris, class_weight: {1: -1}": "data.class_weight: the weight of 1 must be a number of 0 or more, got -1",
    "bundled: iris, class_weight: {1: .inf}": "data.class_weight: the weight of 1 must be a number of 0 or more",
    "csv: rows.csv, target: a, missing: dropp": "data.missing: must be 'error', 'drop' or 'mean', got 'dropp'",
    "csv: nope.csv, target: a": "data.csv: no such file: nope.csv",
    "csv: folder, target: a": "data.csv: no such file: folder, it is a folder",
    "csv: 3, target: a": "data.csv: must be a path, got 3",
    'csv: "a\\0b", target: a': "data.csv: must be a path, got 'a\\x00b'",
    f"csv: {'a' * 300}, target: a": "cannot be read: File name too long",
}


@pytest.mark.parametrize("data", DATA_ERRORS)
def test_data_that_cannot_be_meant(tmp_path: Path, data: str) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    (tmp_path / "folder").mkdir()
    (error,) = errors_of(tmp_path, f"name: j\ndata: {{{data}}}\nmodel: {{objective: squared}}\n")
    assert error.startswith("job.yaml:2: data")
    assert DATA_ERRORS[data] in error


def test_data_lies_relative_to_the_job_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    text = "name: j\ndata: {csv: ../rows.csv, target: a}\nmodel: {objective: squared}\noutput: out\n"
    path = write(tmp_path / "jobs", text)
    monkeypatch.chdir(tmp_path)
    for given_as in (path, Path("jobs/job.yaml")):
        job = load_job(given_as)
        assert job.data.csv == (tmp_path / "rows.csv").resolve()
        assert job.output == Path("out")


def test_an_output_that_cannot_be_a_folder_is_seen_before_training(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("")
    for output in (taken, taken / "below"):
        (error,) = errors_of(tmp_path, f"{LEAST}output: {output}\n")
        assert error == "job.yaml:4: output: taken is there already, and is no folder; name another output"


NOT_YAML = {
    "shards: 3\nname: k\nworkers: {count: 1, count: 2}": ["5: 'name' is given twice", "6: 'count' is given twice"],
    "shards: [1": ["5: not valid YAML: expected ',' or ']', but got '<stream end>'"],
    "shards: }": ["4: not valid YAML: expected the node content, but found '}'"],
    "\tshards: 3": ["4: not valid YAML: found character '\\t' that cannot start any token"],
    "a: &w {count: 1}\nworkers: *w": ["5: aliases (*w) are not allowed; write the value out"],
    "workers: *nowhere": ["4: aliases (*nowhere) are not allowed; write the value out"],
    "output: !!python/object:os.system x": ["4: not valid YAML: could not determine a constructor"],
    "[a]: 3": ["4: not valid YAML: found unhashable key"],
    "---\nname: k": ["4: not valid YAML: but found another document"],
    "shards: " + "9" * 5000: ["4: not valid YAML: Exceeds the limit"],
    "output: \x07": ["4: not valid YAML: special characters are not allowed"],
}


@pytest.mark.parametrize("lines", NOT_YAML, ids=lambda lines: lines[:20])
def test_text_that_is_not_yaml(tmp_path: Path, lines: str) -> None:
    found = errors_of(tmp_path, f"{LEAST}{lines}\n")
    assert len(found) == len(NOT_YAML[lines])
    for line, expected in zip(found, NOT_YAML[lines], strict=True):
        assert line.startswith(f"job.yaml:{expected}")


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n", "hello\n", "3\n", "null\n", "---\n"])
def test_text_that_is_no_mapping(tmp_path: Path, text: str) -> None:
    assert errors_of(tmp_path, text) == [
        "job.yaml:1: expected a mapping of fields, such as 'name: my-job'",
    ]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    binary, large = tmp_path / "binary.yaml", tmp_path / "large.yaml"
    binary.write_bytes(bytes(range(256)))
    large.write_text("#" * (1024 * 1024 + 1))
    cases = {
        tmp_path / "nope.yaml": "nope.yaml: no such file",
        tmp_path: "cannot be read: [Errno 21] Is a directory",
        binary: "binary.yaml: cannot be read: 'utf-8' codec can't decode",
        large: "large.yaml: it has over 262,144 bytes; a job file is a page of text",
    }
    for path, expected in cases.items():
        with pytest.raises(UserError) as caught:
            load_job(path)
        assert expected in str(caught.value)


def test_deep_nesting_is_refused_in_one_line(tmp_path: Path) -> None:
    for text in ("a: " + "[" * 5000, "a: " + "[" * 500 + "]" * 500):
        assert errors_of(tmp_path, text) == ["job.yaml: not valid YAML: nested too deeply"]


def loaded(folder: Path, *settings_: str) -> Job:
    return load_job(write(folder, LEAST), dict(parse_override(setting) for setting in settings_))


def test_overrides_replace_fields_by_dotted_names(tmp_path: Path) -> None:
    job = loaded(
        tmp_path,
        "training.rounds=50",
        "training.learning_rate=auto",
        "workers.bundle.memory=1GiB",
        "policy={order: fifo}",
        "data.bundled=digits",
        "output=a=b",
    )
    assert (job.training.rounds, job.workers.bundle.memory, job.data.bundled) == (50, 1024**3, "digits")
    assert (job.policy, job.output) == ({"order": "fifo"}, Path("a=b"))


BAD_OVERRIDES = {
    "rounds": "--set rounds: expected FIELD=VALUE, such as training.rounds=50",
    "=3": "--set =3: expected FIELD=VALUE, such as training.rounds=50",
    "a..b=3": "--set a..b=3: expected FIELD=VALUE, such as training.rounds=50",
    "shards=[": "--set shards: '[' is not a YAML value",
    "shards=*x": "--set shards: '*x' is not a YAML value",
    "shards=" + "[" * 3000: "--set shards: '[[[[",
    "training.rounds=abc": "--set training.rounds: must be a whole number, got 'abc'",
    "training.rounds=": "--set training.rounds: must be a whole number, got nothing",
    "training.rounds=2024-13-45": "--set training.rounds: must be a whole number, got '2024-13-45'",
    "training.roundz=3": "--set training.roundz: unknown key 'roundz'. Did you mean 'rounds'?",
    "trainin.rounds=3": "unknown key 'trainin'. Did you mean 'training'?",
    "data.csv=/nope.csv": "--set data.csv: no such file: /nope.csv",
    "name.x=3": "job.yaml:1 with --set name.x: name: must be text, got {'x': 3}",
    "data.target=a": "job.yaml:2 with --set data.target: data: bundled has its own target; leave 'target' out",
}


@pytest.mark.parametrize("setting", BAD_OVERRIDES, ids=lambda setting: setting[:20])
def test_bad_overrides_are_named(tmp_path: Path, setting: str) -> None:
    with pytest.raises(UserError) as caught:
        loaded(tmp_path, setting)
    assert BAD_OVERRIDES[setting] in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_an_error_of_the_file_is_not_laid_on_an_override(tmp_path: Path) -> None:
    text = f"{LEAST}training: {{seed: x}}\n"
    assert errors_of(tmp_path, text, {"training.rounds": 3}) == [
        "job.yaml:4: training.seed: must be a whole number, got 'x'"
    ]


garbage = st.one_of(
    st.sampled_from([*"{}[]:,&*!|>%@`'\"#-?~=\t\\", ".nan", "!!", "<<", "2024-13-45", "1e999", "yes"]),
    st.text(max_size=8),
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    lines = VALID.splitlines()
    for _ in range(draw(st.integers(1, 4))):
        where = draw(st.integers(0, len(lines) - 1))
        line = lines[where]
        match draw(st.sampled_from(("delete", "repeat", "indent", "garble", "cut"))):
            case "delete" if len(lines) > 1:
                del lines[where]
            case "repeat":
                lines.insert(where, line)
            case "indent":
                lines[where] = " " * draw(st.integers(0, 5)) + line.lstrip()
            case "garble":
                at = draw(st.integers(0, len(line)))
                lines[where] = line[:at] + draw(garbage) + line[at + draw(st.integers(0, 4)) :]
            case "cut":
                lines[where] = line[: draw(st.integers(0, len(line)))]
    return "\n".join(lines)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=mutated())
def test_a_mutated_file_loads_or_is_refused_and_nothing_else(tmp_path: Path, text: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        assert isinstance(load_job(path), Job)
    except UserError as error:
        assert str(error).startswith(str(path))
        assert "https" not in str(error)
