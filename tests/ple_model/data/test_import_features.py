"""A ready feature table becomes a dataset: values come back in their units, absent parts are absent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ple_model.data.dataset.reader import Dataset
from ple_model.data.importers.features import import_features
from ple_model.errors import UserError
from ple_model.schema import PART_SLICES, load_schema

N = 400
NAMES = load_schema().names[PART_SLICES["rfm"]] + load_schema().names[PART_SLICES["raw_power_law"]][:5]


def table(**changes: object) -> pa.Table:
    rng = np.random.default_rng(0)
    columns: dict[str, object] = {"customer_id": [f"c{i}" for i in range(N)], "cutoff": ["2024-05-01"] * N}
    columns |= {name: rng.lognormal(1.0, 1.0, N) for name in NAMES}
    columns |= {
        "churn": rng.integers(-1, 2, N),
        "ltv": rng.normal(5, 2, N),
        "nba": rng.integers(-1, 12, N),
        "brand_prediction": rng.choice(["x", "y", "z"], N, p=[0.6, 0.3, 0.1]),
        "branch": rng.choice(["north", "south"], N),
    }
    return pa.table(columns | changes)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "features.parquet"
    pq.write_table(table(), path)
    return path


def test_values_come_back_in_their_own_units_and_labels_as_given(file: Path, tmp_path: Path) -> None:
    import_features(file, tmp_path / "out")
    dataset = Dataset.open(tmp_path / "out")
    dataset.verify()
    batch = dataset.load()
    source = {row["customer_id"]: row for row in table().to_pylist()}
    back = dataset.normalizer().inverse(batch.inputs.features.numpy())
    column = load_schema().index[NAMES[0]]
    expected = np.array([source[c][NAMES[0]] for c in batch.customer_id])
    inside = np.abs(batch.inputs.features[:, column].numpy()) < 9.9
    np.testing.assert_allclose(back[inside, column], expected[inside], rtol=1e-3)
    assert batch.inputs.targets is not None
    assert batch.inputs.targets["churn"].tolist() == [source[c]["churn"] for c in batch.customer_id]
    np.testing.assert_allclose(batch.inputs.targets["ltv"].numpy(), [source[c]["ltv"] for c in batch.customer_id], rtol=1e-6)
    brands = dataset.context().brands
    assert brands[0] == "x"
    assert [brands[i] for i in batch.inputs.targets["brand_prediction"].tolist()] == [
        source[c]["brand_prediction"] for c in batch.customer_id
    ]
    assert "branch" in dataset.manifest.raw_columns


def test_parts_without_a_column_are_absent_and_other_inputs_too(file: Path, tmp_path: Path) -> None:
    manifest = import_features(file, tmp_path / "out")
    batch = Dataset.open(tmp_path / "out").load()
    assert bool(batch.inputs.present("features:rfm").all())
    assert not bool(batch.inputs.present("features:overseas").any())
    assert batch.inputs.txn_seq is None
    assert any("overseas" in note for note in manifest.notes)


def test_a_customer_keeps_its_split_and_all_splits_have_rows(file: Path, tmp_path: Path) -> None:
    a = import_features(file, tmp_path / "a", seed=1)
    pq.write_table(table().slice(0, 300), file)
    import_features(file, tmp_path / "b", seed=1)
    assert all(a.splits.values())
    splits = [
        dict(zip(t["customer_id"].to_pylist(), t["split"].to_pylist(), strict=True))
        for t in (Dataset.open(tmp_path / k).table(["customer_id", "split"]) for k in "ab")
    ]
    assert all(splits[0][c] == s for c, s in splits[1].items())


def test_csv_is_read_too(file: Path, tmp_path: Path) -> None:
    table().to_pandas().to_csv(tmp_path / "f.csv", index=False)
    assert import_features(tmp_path / "f.csv", tmp_path / "out").rows == N


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"churn": [5] * N}, "'churn' has 400 values that are no class of 0 to 1"),
        ({NAMES[0]: ["much"] * N}, "values that are no number, for example 'much'"),
        ({"split": ["trian"] * N}, "no split, for example 'trian'; did you mean 'train'"),
        ({"split": ["test"] * N}, "no row in the split 'train'"),
        ({"customer_id": [None] * N}, "without a customer_id"),
    ],
)
def test_faults_of_the_table_are_one_sentence(tmp_path: Path, changes: dict[str, object], match: str) -> None:
    pq.write_table(table(**changes), tmp_path / "f.parquet")
    with pytest.raises(UserError) as caught:
        import_features(tmp_path / "f.parquet", tmp_path / "out")
    assert match in str(caught.value)


def test_files_that_are_no_feature_table_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"customer_id": ["a"], "x": [1.0]}), tmp_path / "f.parquet")
    with pytest.raises(UserError, match=r"has 0 of the .* feature columns; for a table of other columns, --schema"):
        import_features(tmp_path / "f.parquet", tmp_path / "out")
    for content, sentence in ((b"no parquet", "is no Parquet file"), (b"PAR1 broken inside PAR1", "cannot be read")):
        (tmp_path / "bad.parquet").write_bytes(content)
        with pytest.raises(UserError, match=sentence):
            import_features(tmp_path / "bad.parquet", tmp_path / "out")
    with pytest.raises(UserError, match="does not exist"):
        import_features(tmp_path / "nothing", tmp_path / "out")
