import pytest
import torch

from ple_model.batch import PLEClusterInput
from ple_model.errors import UserError
from ple_model.intervention import Intervention
from ple_model.model import PLEClusterAdaTT
from ple_model.output import Encoded

ITEMS = [
    "ablate.temporal=zero",
    "pin_gate.ctr.perslay=0.4",
    "pin_gate.ctr.deepfm=0.1",
    "gate_temperature.nba=2",
    "edge.ctr:cvr=0",
    "hmm.journey=default",
    "latent.7=1.5",
    "replace_shared=true",
]


def test_text_form_reads_back() -> None:
    parsed = Intervention.parse(ITEMS)
    assert parsed.to_strings() == ITEMS
    assert Intervention.parse(parsed.to_strings()) == parsed
    assert Intervention.parse(["gate_temperature=0.5"]).gate_temperature == 0.5


def test_it_describes_itself() -> None:
    assert Intervention().describe() == "no change"
    assert Intervention().empty
    assert Intervention.parse(["edge.ctr:cvr=0", "hmm.journey=zero"]).describe() == (
        "transfer ctr -> cvr cut; HMM journey replaced by zeros"
    )
    assert len(Intervention.parse(ITEMS).describe().split("; ")) == len(ITEMS)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("ablat.temporal=zero", "did you mean 'ablate'"),
        ("ablate.temporal=none", "mean, zero"),
        ("hmm.jurney=zero", "did you mean 'journey'"),
        ("edge.ctr:cvr=much", "not a number"),
        ("latent.seven=1", "not a latent"),
        ("pin_gate.ctr=1", "pin_gate.<task>.<expert>"),
        ("gate_temperature=0", "positive"),
        ("replace_shared=yes", "true"),
        ("ablate=zero", "expected for example"),
        ("latent.1=nan", "finite"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(item: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Intervention.parse([item])


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("ablate.temporl=zero", "did you mean 'temporal'"),
        ("ablate.temporal=mean", "no mean block"),
        ("pin_gate.crt.perslay=1", "no such task"),
        ("edge.ctr:cvrr=0", "did you mean 'ctr:cvr'"),
        ("latent.384=0", "valid: 0 to 383"),
        ("gate_temperature.x=2", "no such task"),
    ],
)
def test_what_the_model_does_not_have_is_refused(model: PLEClusterAdaTT, encoded: Encoded, item: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        model.decode(encoded, Intervention.parse([item]))


def test_no_change_changes_nothing(model: PLEClusterAdaTT, encoded: Encoded) -> None:
    a, b = model.decode(encoded), model.decode(encoded, Intervention())
    assert all(torch.equal(a.predictions[t], b.predictions[t]) for t in model.tasks)


def test_ablation_replaces_the_block_by_zeros_or_the_mean(model: PLEClusterAdaTT, encoded: Encoded) -> None:
    i = model.expert_names.index("temporal")
    start = sum(model.dims[:i])
    columns = slice(start, start + model.dims[i])
    zero = model.decode(encoded, Intervention(ablate={"temporal": "zero"})).shared_concat
    assert (zero[:, columns] == 0).all()
    assert torch.equal(zero[:, :start], encoded.shared_concat[:, :start])
    mean_block = encoded.shared_concat[:, columns].mean(0)
    mean = model.decode(encoded, Intervention(ablate={"temporal": "mean"}, mean_blocks={"temporal": mean_block})).shared_concat
    assert (mean[:, columns] == mean_block).all()


def test_a_gate_pinned_to_one_expert_makes_the_task_blind_to_the_others(model: PLEClusterAdaTT, encoded: Encoded) -> None:
    pin = Intervention(pin_gate={"timing": {"temporal": 1.0}})
    w = model.decode(encoded, pin).gate_weights[:, model.task_names.index("timing")]
    expected = [float(n == "temporal") for n in model.expert_names]
    assert w.tolist() == [expected] * len(encoded)
    both = Intervention(pin_gate={"timing": {"temporal": 1.0}}, ablate={"deepfm": "zero"})
    torch.testing.assert_close(
        model.decode(encoded, both).predictions["timing"], model.decode(encoded, pin).predictions["timing"]
    )


def test_a_low_gate_temperature_sharpens_the_named_task(model: PLEClusterAdaTT, encoded: Encoded) -> None:
    sharp = model.decode(encoded, Intervention(gate_temperature={"ctr": 0.05})).gate_weights
    plain = model.decode(encoded).gate_weights
    k = model.task_names.index("ctr")
    assert (sharp[:, k].max(-1).values > plain[:, k].max(-1).values).all()
    assert torch.equal(sharp[:, k + 1 :], plain[:, k + 1 :])


def test_an_hmm_mode_set_to_default_is_a_customer_without_it(model: PLEClusterAdaTT, inputs: PLEClusterInput) -> None:
    from tests.factories import without

    with torch.no_grad():
        what_if = model(inputs, Intervention(hmm={"lifecycle": "default"}))
        absent = model(without(inputs, ("hmm_lifecycle",)))
    for task in model.tasks:
        torch.testing.assert_close(what_if.predictions[task], absent.predictions[task])


def test_clamping_a_latent_moves_shared_along_its_direction_only(model: PLEClusterAdaTT, encoded: Encoded) -> None:
    assert model.sae is not None
    moved = model.decode(encoded, Intervention(clamp_latent={3: 2.0})).shared_concat - encoded.shared_concat
    direction = model.sae.decoder[:, 3] * model.sae.std
    along = (moved @ direction)[:, None] / (direction @ direction) * direction
    torch.testing.assert_close(moved, along, rtol=1e-3, atol=1e-4)
    assert moved.abs().max() > 0.01


def test_replacing_shared_uses_the_sae_s_reconstruction(model: PLEClusterAdaTT, encoded: Encoded) -> None:
    assert model.sae is not None
    out = model.decode(encoded, Intervention(replace_shared=True))
    torch.testing.assert_close(out.shared_concat, model.sae.reconstruct(encoded.shared_concat))
