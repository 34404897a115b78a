"""Edits of features: what is written is read back, acts in the column's unit, and reruns only the experts that read it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ple_model.batch import PLEClusterInput
from ple_model.data.dataset.normalize import Normalizer
from ple_model.edits import FIELDS, FeatureEdit, changed_keys, check, edit, removable
from ple_model.errors import UserError
from ple_model.fields import FIELD_SHAPES, N_NORMALIZED
from ple_model.intervention import Intervention
from ple_model.model import PLEClusterAdaTT
from ple_model.output import Encoded
from ple_model.schema import PART_SLICES, load_schema
from tests.factories import random_inputs

IDENTITY = Normalizer.identity()
ONE_COLUMN_A_PART = [load_schema().names[where.start] for where in PART_SLICES.values()]


@pytest.fixture(scope="module")
def fitted() -> Normalizer:
    """Columns in units of their own: centred far from 0, one of them in logarithms, one constant."""
    g = np.random.default_rng(0)
    values = g.normal(50, 10, size=(400, 734))
    values[:, 1] = np.exp(g.normal(5, 1, 400))
    values[:, 2] = 7.0
    scales = ["linear", "log", "linear", *["linear"] * (N_NORMALIZED - 3), *["raw"] * (734 - N_NORMALIZED)]
    return Normalizer.fit(values, scales)


def of(**edits: float | str) -> dict[str, FeatureEdit]:
    return Intervention(features=edits).feature_edits


numbers = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)
column_edits = st.dictionaries(
    st.sampled_from(load_schema().names),
    st.builds(FeatureEdit, st.sampled_from(["set", "times", "plus"]), numbers),
    max_size=4,
)
removals = st.dictionaries(st.sampled_from(removable(load_schema())), st.just(FeatureEdit("absent")), max_size=3)


@settings(deadline=None, max_examples=60)
@given(
    column_edits,
    removals,
    st.dictionaries(st.integers(0, 700), numbers, max_size=3),
    st.floats(1e-6, 1e6, allow_subnormal=False),
)
def test_every_edit_reads_back_from_its_text(
    columns: Mapping[str, FeatureEdit], gone: Mapping[str, FeatureEdit], latents: Mapping[int, float], temperature: float
) -> None:
    made = Intervention(features={**columns, **gone}, clamp_latent=latents, gate_temperature=temperature)
    assert Intervention.parse(made.to_strings()) == made


def test_an_edit_is_given_as_a_number_or_as_text() -> None:
    assert of(recency_days=5, purchase_count_7d="*1.2", purchase_count_14d="+-3", deposit="absent") == {
        "recency_days": FeatureEdit("set", 5.0),
        "purchase_count_7d": FeatureEdit("times", 1.2),
        "purchase_count_14d": FeatureEdit("plus", -3.0),
        "deposit": FeatureEdit("absent"),
    }
    said = Intervention.parse(["feature.recency_days=5", "feature.txn_seq=absent"]).describe()
    assert said == "recency_days set to 5; input txn_seq taken away"


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("feature.recency=5", "did you mean 'recency_days'"),
        ("feature.deposits=absent", "did you mean 'deposit'"),
        ("feature.recency_days=absent", "feature.rfm=absent"),
        ("feature.rfm=5", "can only be absent"),
        ("feature.recency_days=nan", "finite"),
        ("feature.recency_days=*inf", "finite"),
        ("feature.recency_days=many", "not a number"),
        ("feature.recency_days=", "expected for example"),
    ],
)
def test_what_cannot_be_edited_is_refused_by_name(item: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check(Intervention.parse([item]).feature_edits)


def test_a_column_and_its_absent_part_do_not_go_together() -> None:
    with pytest.raises(UserError, match="taken away by the same"):
        check(of(recency_days=5, base="absent"))


def test_values_are_in_the_columns_own_unit(fitted: Normalizer) -> None:
    real = np.tile(np.array([[40.0, 300.0, 7.0] + [50.0] * 731]), (4, 1))
    inputs = random_inputs(4)
    inputs = PLEClusterInput(torch.from_numpy(fitted.transform(real)), inputs.cluster_ids)
    names = load_schema().names
    asked = of(**{names[0]: "+15", names[1]: "*2", names[5]: -3.0, names[700]: 12.0})
    after = fitted.inverse(edit(inputs, asked, fitted).features.numpy())
    expected = real.copy()
    expected[:, [0, 1, 5, 700]] = [55.0, 600.0, -3.0, 12.0]
    np.testing.assert_allclose(after, expected, rtol=1e-5)


def test_a_constant_column_stays_what_the_model_reads_as_nothing(fitted: Normalizer) -> None:
    inputs = random_inputs(4)
    assert (edit(inputs, of(**{load_schema().names[2]: 1e6}), fitted).features[:, 2] == 0).all()


def test_only_the_named_column_of_rows_that_have_it_changes() -> None:
    inputs = random_inputs(6, absent={"features:rfm": [1, 4]})
    after = edit(inputs, of(recency_days=9.0), IDENTITY)
    assert after.features[:, 0].tolist() == pytest.approx([9, 0, 9, 9, 0, 9])
    assert torch.equal(after.features[:, 1:], inputs.features[:, 1:])
    assert not torch.equal(inputs.features[:, 0], after.features[:, 0]), "the given batch must not be written to"


def test_a_part_is_taken_away_as_a_cut_feed_takes_it() -> None:
    from tests.factories import without

    inputs = random_inputs(5)
    for name, keys in {"deposit": ["features:deposit"], "txn_seq": ["txn_seq"]}.items():
        after, expected = edit(inputs, of(**{name: "absent"}), IDENTITY), without(inputs, keys)
        assert torch.equal(after.features, expected.features)
        for key in keys:
            assert torch.equal(after.present(key), expected.present(key))
    group = edit(inputs, of(merchant="absent"), IDENTITY)
    assert not group.any_present(["features:mcc_l1", "features:radius"]).any()


def test_a_result_that_is_no_number_is_refused() -> None:
    inputs = random_inputs(3)
    name = load_schema().names[700]  # a raw column: nothing clips it
    with pytest.raises(UserError, match="too large"):
        edit(inputs, of(**{name: "*1e300"}), IDENTITY)
    with pytest.raises(UserError, match=f"feature.{name}"):
        edit(inputs, of(**{name: 1e39}), IDENTITY)


def same(one: Encoded, two: Encoded) -> None:
    torch.testing.assert_close(one.shared_concat, two.shared_concat)
    for field in ("expert_outputs", "expert_present", "hmm_projected", "hmm_default"):
        torch.testing.assert_close(dict(getattr(one, field)), dict(getattr(two, field)))
    torch.testing.assert_close(one.cluster_embedding, two.cluster_embedding)
    torch.testing.assert_close(one.cluster_weights, two.cluster_weights)


EVERY = [*((c, "*1.5") for c in ONE_COLUMN_A_PART), *((r, "absent") for r in removable(load_schema()))]


@pytest.mark.parametrize(("name", "how"), EVERY, ids=[n for n, _ in EVERY])
def test_encoding_again_is_encoding_the_edited_customers_anew(
    model: PLEClusterAdaTT, inputs: PLEClusterInput, encoded: Encoded, name: str, how: str
) -> None:
    """From the named fields alone: that they suffice is part of it."""
    asked = of(**{name: how})
    changed = changed_keys(asked)
    read = {"features", "cluster_ids", "targets", "presence", *model.fields_to_encode_again(changed)}
    from dataclasses import replace

    few = replace(inputs, **{f: None for f in FIELD_SHAPES if f not in read})  # type: ignore[arg-type]
    with torch.no_grad():
        same(model.encode_again(edit(few, asked, IDENTITY), encoded, changed), model.encode(edit(inputs, asked, IDENTITY)))


def test_experts_that_read_nothing_of_it_do_not_run(
    model: PLEClusterAdaTT, inputs: PLEClusterInput, encoded: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = of(**{load_schema().names[load_schema().parts["raw_power_law"]][0]: "*2"})
    changed = changed_keys(asked)
    assert model.readers(changed) == ["raw_scale"]
    ran: list[str] = []
    for name, expert in model.experts.items():
        plain = expert.forward
        monkeypatch.setattr(expert, "forward", lambda x, name=name, plain=plain: ran.append(name) or plain(x))
    with torch.no_grad():
        model.encode_again(edit(inputs, asked, IDENTITY), encoded, changed)
    assert ran == ["raw_scale"]


def test_every_field_that_can_be_taken_away_changes_something(model: PLEClusterAdaTT) -> None:
    # the summary of the diagrams is read where there are no diagrams
    inputs = random_inputs(12, seed=1, absent={"tda_short_diagrams": [0, 5], "tda_long_diagrams": [0, 5]})
    with torch.no_grad():
        encoded = model.encode(inputs)
    without_effect = []
    for name in FIELDS:
        asked = of(**{name: "absent"})
        with torch.no_grad():
            again = model.encode_again(edit(inputs, asked, IDENTITY), encoded, changed_keys(asked))
            before, after = (model.decode(x, sae=False, evidential=False).predictions for x in (encoded, again))
        if all(torch.equal(before[t], after[t]) for t in before):
            without_effect.append(name)
    assert without_effect == []


def test_a_decoder_refuses_edits_that_come_too_late(model: PLEClusterAdaTT, encoded: Encoded) -> None:
    change = Intervention.parse(["feature.recency_days=3", "edge.ctr:cvr=0"])
    with pytest.raises(UserError, match="before the experts"):
        model.decode(encoded, change)
    assert change.after_experts == Intervention.parse(["edge.ctr:cvr=0"])
