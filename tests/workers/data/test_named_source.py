"""Data sets by name; the network is never asked."""

import pickle
import urllib.error

import numpy as np
import pytest
from scipy import sparse
from sklearn import datasets
from sklearn.utils import Bunch
from source_cases import refusal

from workers.data import named_source
from workers.data.named_source import BUNDLED, FETCHED, UNFIT, NamedSource, OpenmlSource
from workers.errors import DataError

X, Y = np.arange(12.0).reshape(4, 3), np.array([1, 2, 1, 2])


@pytest.fixture(autouse=True)
def _nothing_loaded(monkeypatch):
    monkeypatch.setattr(named_source, "_loaded", {})


@pytest.fixture
def stub(monkeypatch):
    """Replace one of scikit-learn's loaders; returns what it is called with."""

    def replace(loader, result):
        calls = []

        def fetch(*args, **options):
            calls.append((args, options))
            if isinstance(result, Exception):
                raise result
            return result

        monkeypatch.setattr(datasets, loader, fetch)
        return calls

    return replace


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_sets_are_those_of_sklearn(name, monkeypatch):
    source = NamedSource(name)
    info = source.describe(source.natural_task)
    expected = getattr(datasets, f"load_{name}")()
    rows = np.random.default_rng(0).permutation(info.num_rows)
    pickled = pickle.dumps(source)
    monkeypatch.setattr(named_source, "_loaded", {})
    monkeypatch.setattr(datasets, f"load_{name}", None)
    read = pickle.loads(pickled).read(rows, info)  # noqa: S301
    np.testing.assert_array_equal(read.X, expected.data[rows])
    np.testing.assert_array_equal(read.y, expected.target[rows])
    assert info.feature_names == tuple(expected.feature_names)
    assert info.classes == (tuple(range(len(expected.target_names))) if "target_names" in expected else None)
    assert read.X.ctypes.data % 64 == read.y.ctypes.data % 64 == 0 and read.X.flags.c_contiguous


def test_every_loader_is_known():
    of_no_set = {"files", "sample_image", "sample_images", "svmlight_file", "svmlight_files", "file", "openml"}
    known = {f"load_{name}" for name in BUNDLED} | {f"fetch_{name}" for name in FETCHED}
    known |= {f"{verb}_{name}" for verb in ("load", "fetch") for name in of_no_set | set(UNFIT)}
    assert {name for name in datasets.__all__ if name.startswith(("load_", "fetch_"))} <= known


def test_names_and_tasks():
    with pytest.raises(DataError, match=r"no data set 'diabetis'. Did you mean 'diabetes'\?"):
        NamedSource("diabetis")
    with pytest.raises(DataError, match="'kddcup99' cannot be used: it has columns of text"):
        NamedSource("kddcup99")
    assert "Use task: regression" in refusal(NamedSource("diabetes"), "classification")
    assert NamedSource("iris").describe("regression").classes is None


def test_a_fetched_set_is_fetched_once_and_travels(stub):
    calls = stub("fetch_covtype", Bunch(data=X, target=Y, feature_names=["a", "b", "c"]))
    source = NamedSource("covtype", data_home="/somewhere")
    info = source.describe("classification")
    assert (info.classes, info.feature_names, calls) == ((1, 2), ("a", "b", "c"), [((), {"data_home": "/somewhere"})])
    copy = pickle.loads(pickle.dumps(source))  # noqa: S301
    np.testing.assert_array_equal(copy.read(np.array([2, 1]), info).y, [0, 1])
    assert len(calls) == 1 and copy == source


def test_fetched_sets_may_be_sparse_or_without_names(stub):
    stub("fetch_20newsgroups_vectorized", Bunch(data=sparse.csr_matrix(X), target=Y))
    info = NamedSource("20newsgroups_vectorized").describe("classification")
    assert info.feature_names == ("x0", "x1", "x2") and info.row_values.tolist() == [2, 3, 3, 3]


@pytest.mark.parametrize("error", [urllib.error.URLError("no route"), OSError("no route"), TimeoutError("no route")])
def test_without_network(stub, error):
    stub("fetch_california_housing", error)
    stub("fetch_openml", error)
    message = refusal(NamedSource("california_housing", data_home="/home/data"))
    assert message.startswith("sklearn.datasets.fetch_california_housing failed: ") and "no route" in message
    assert "copy /home/data here" in message
    assert "sklearn.datasets.fetch_openml('iris@1') failed" in refusal(OpenmlSource("iris@1"))


def test_openml(stub):
    data = np.array([[0, 1.5], [1, 2.5], [1, 3.5]])
    calls = stub(
        "fetch_openml",
        Bunch(
            data=data,
            target=np.array(["no", "yes", "no"], dtype=object),
            feature_names=["colour", "size"],
            categories={"colour": ["red", "blue"]},
            target_names=["good"],
        ),
    )
    source = OpenmlSource("paint@3", data_home="/home/data")
    info = source.describe("classification")
    assert (info.classes, info.target_name) == (("no", "yes"), "good")
    assert info.feature_names == ("colour=red", "colour=blue", "size")
    np.testing.assert_array_equal(source.read(np.arange(3), info).X, [[1, 0, 1.5], [0, 1, 2.5], [0, 1, 3.5]])
    options = {"version": 3, "data_home": "/home/data", "as_frame": False, "parser": "liac-arff"}
    assert calls == [(("paint",), options)]
    data[1, 0] = np.nan
    assert "row 1, column 'colour=red': got nan" in refusal(OpenmlSource("paint"), "classification")
    assert calls[1][1]["version"] == "active"


def test_complaints_of_openml(stub):
    stub("fetch_openml", ValueError("Dataset nope with version 7 not found."))
    message = refusal(OpenmlSource("nope@7"))
    assert "fetch_openml('nope@7') failed: Dataset nope with version 7 not found. Check the name" in message
    for target in (None, np.zeros((4, 2))):
        stub("fetch_openml", Bunch(data=X, target=target, feature_names=["a", "b", "c"]))
        assert "has no default target, or several" in refusal(OpenmlSource("several"))
    for name in ("", "@1", "iris@", "iris@x", "iris@1@2"):
        with pytest.raises(DataError, match="Give NAME or NAME@VERSION"):
            OpenmlSource(name)
