"""Every threshold of every check in one frozen object; each says where its value comes from (`metadata["source"]`).

Those that several checks share, or that were measured together, are fields of `Thresholds`. One that a single check has to
itself is a `Limit` beside that check, named in its registration and read as `t[LIMIT]`.

Override per run: `replace(Thresholds(), gate_collapse=0.95)`, or `analysis.checks.registry.thresholds_of({...})` from a file,
which knows the limits of every check.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ple_model.errors import UserError, did_you_mean

REFERENCE = "the reference, section 'Debugging guide'"
JUDGEMENT = "our judgement: a level that healthy runs stay clear of"


def _t(default: float, help: str, source: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": help, "source": source})


@dataclass(frozen=True)
class Limit:
    """A threshold of one check: what it is a limit of, and where the value comes from."""

    name: str
    value: float
    help: str
    source: str


@dataclass(frozen=True)
class Thresholds:
    min_rows: int = _t(100, "Rows below which a check answers unknown.", "standard error of a share up to 5 points")
    min_epochs: int = _t(2, "Epochs below which a check of training answers unknown.", "a change needs two points")

    # the run itself
    run_differs: float = _t(
        1e-5,
        "Difference of a part's output from that at the end of training, as a share of its size, beyond rounding.",
        "measured on a healthy run: two threads for one move no part by more than 1.3e-7 of its size, oneDNN off 1.8e-7, plain "
        "instead of AVX2 instructions 4.2e-7, float64 for float32 (all of its rounding) 4.3e-7; twenty times the largest. "
        "bfloat16 moves 6e-3",
    )
    run_differs_prediction: float = _t(0.01, "The same of a prediction, from which it is an error.", JUDGEMENT)

    # experts
    fallback_error: float = _t(
        0.95, "Share of rows on zero fallback at which an expert is starved.", REFERENCE + " (all-zero output)"
    )
    fallback_warning: float = _t(0.5, "Share of rows on zero fallback that is worth a warning.", JUDGEMENT)
    field_absent: float = _t(
        0.99, "Share of rows without a field at which it counts as missing.", REFERENCE + " (input is None)"
    )
    dead_norm: float = _t(
        1e-3, "Mean norm of an output below which it is dead although inputs are there.", REFERENCE + " (all-zero output)"
    )
    dead_variation: float = _t(1e-3, "Root of the total variance over the norm below which an output is constant.", JUDGEMENT)
    rank_outside: float = _t(
        0.001,
        "Share of an output's variance outside its leading direction below which it is a single direction.",
        "Jing et al. 2022: collapsed directions lie orders of magnitude below the others. The smallest share of 40 experts of "
        "five healthy seeds (21 to 25, none of them the benchmark's) is 0.012; this is a tenth of it",
    )
    rank_share: float = _t(
        0.02,
        "Effective rank over width below which an output is worth a note.",
        "Roy & Vetterli 2007 gives the measure; " + JUDGEMENT,
    )
    rank_floor: float = _t(1.15, "An effective rank below this is worth a note whatever the width.", "one direction has rank 1")
    expert_scale: float = _t(
        3.0,
        "Factor between an expert's output now and at the end of training from which it is another.",
        "our judgement; three healthy runs (seeds 7 and 11) on the rows of three banks: 0.78 to 1.06",
    )
    redundant_cka: float = _t(
        0.95,
        "Linear CKA above which two experts say the same.",
        "Kornblith et al. 2019: same layers across seeds reach 0.9 and more",
    )
    death_before_birth: float = _t(
        0.001, "Share of valid diagram points with death < birth.", "impossible in a persistence diagram"
    )
    mask_valid_low: float = _t(
        0.005, "Share of valid points below which padding is suspect.", REFERENCE + " (valid share of the mask)"
    )
    mask_valid_full: float = _t(
        0.995, "Share of valid points above which padding counts as points.", REFERENCE + " (valid share of the mask)"
    )
    mask_empty_points: float = _t(
        0.5, "Share of valid points at (0, 0): padding marked as valid.", REFERENCE + " (diagram padding)"
    )

    # gates
    gate_collapse: float = _t(0.9, "Mean weight of one expert for one task at which the gate has collapsed.", REFERENCE)
    gate_jitter: float = _t(
        0.33,
        "Weight that a row leaves to other experts than its first, over that at the end of training.",
        "our judgement; three healthy runs (seeds 7 and 11) on the rows of three banks: 0.95 to 1.07",
    )
    gate_uniform: float = _t(
        0.985, "Normalised entropy H / ln N above which a gate is uniform.", REFERENCE + " (all 0.125): within 1.5 % of ln N"
    )
    gate_uniform_spread: float = _t(
        0.02, "Largest distance of a mean weight from 1/N for a uniform gate.", REFERENCE + " (all 0.125)"
    )
    gate_unmoved: float = _t(
        0.03,
        "Jensen-Shannon distance to the prior below which a gate has not moved.",
        "bias softmax 0.51 / 0.07; one percent of weight moved is about 0.01",
    )
    off_domain: float = _t(
        0.35, "Mean weight on one expert outside the task's domain.", REFERENCE + " (high weight outside domain_experts)"
    )
    late_shift: float = _t(0.12, "Jensen-Shannon distance between consecutive epochs in the last third.", JUDGEMENT)
    late_share: float = _t(2 / 3, "Share of training after which a shift is late.", JUDGEMENT)
    dilution: float = _t(0.2, "Mean weight spent on zero fallback.", "twice the weight of a non-domain expert at the prior")
    dead_importance: float = _t(
        0.02,
        "Largest mean weight over tasks below which nobody uses an expert.",
        "a third of the smallest prior weight, 0.05 to 0.07",
    )

    # loss and gradients
    task_loss_zero: float = _t(1e-8, "A task's mean loss at or below this is zero.", REFERENCE)
    log_var_margin: float = _t(0.02, "s_k within this of its limit sits at the clamp.", REFERENCE + " (clamp -4, 4)")
    kl_jump: float = _t(
        0.1, "Rise of the total over the KL ramp, beside falling task losses.", REFERENCE + " (total loss jumps)"
    )
    adatt_jump: float = _t(0.25, "Rise of the mean task loss once adaTT starts.", REFERENCE + " (loss jumps after adaTT)")
    gradient_zero: float = _t(1e-10, "A gradient norm at or below this is zero.", REFERENCE)
    brand_gradient: float = _t(0.02, "Brand tower's gradient over the median tower's.", JUDGEMENT)
    brand_temperature: float = _t(0.1, "InfoNCE temperature above which gradients are weak.", REFERENCE + " (0.07 to 0.05)")
    interval_time: float = _t(
        1.33,
        "Step time with gradient extraction over without, on average.",
        "a quarter of the time spent on measuring; last-layer gradients every 10 steps cost 1.05, healthy trainings so short "
        "that they measure every 4 to 6 steps 1.07 to 1.16",
    )

    # the training as a whole
    fit_gain: float = _t(
        0.01,
        "Fall of the validation loss in the last epoch, over the constant predictor's, from which it had not stopped falling.",
        "three times what two seeds of one training differ by (0.003, on a bank of 5,000 customers)",
    )
    fit_rise: float = _t(
        0.05,
        "Rise of the validation loss over the constant predictor's that is more than noise; twice as much is an alarm.",
        "31 trainings that learnt something rose by 0.00 to 0.05 of it after their best epoch",
    )
    fit_lost: float = _t(
        0.5,
        "Share of what was learnt that training on may lose; early stopping keeps the best weights.",
        "the same trainings lost at most 0.24 of it",
    )
    weight_growth: float = _t(
        2.0,
        "Size of the weights over that at the start, median over the model's blocks, at which the steps are too large.",
        "eight trainings that learnt something lie at 1.00 to 1.07, one at 25 times their learning rate at 4.3",
    )
    step_reach: float = _t(
        0.01,
        "Sum of all steps over the weights' size below which a training cannot have changed anything.",
        "a hundredth of the weights; trainings that learnt something lie at 0.3 to 0.9",
    )

    # skill
    skill_behind: float = _t(
        0.02,
        "How far behind a simpler model, over the constant's loss, a task is a warning; less is a note.",
        "about seven times what two seeds of one training differ by (0.003, on a bank of 5,000 customers)",
    )

    # labels
    label_chance: float = _t(
        0.001, "Chance of a label that is missing among rows drawn as those of training.", "one in a thousand"
    )
    class_rows: float = _t(
        20,
        "Rows of a class below which it is not asked what the model gives it.",
        "standard error of a mean of shares below a quarter of it",
    )
    class_own: float = _t(
        0.25,
        "Mean probability of a class on its own rows, over its share, below which the model leaves it out.",
        "a constant gives a class its share; 59 classes of 20 and more rows of two healthy runs get 0.67 and more of it",
    )
    order_deviations: float = _t(
        5.0,
        "Standard errors by which another order of the classes must fit better than theirs.",
        "one in three million by chance; of the classes of a calibrated model no other order fits better at all",
    )
    rate_deviations: float = _t(
        4.0,
        "Standard errors (customers) of a share of positives from training's and from what the model expects.",
        "one in 30,000 by chance on either side",
    )
    rate_change: float = _t(
        1.5,
        "Factor between a share of positives and both of these from which it counts.",
        "the four binary tasks of the bundled healthy run have 0.83 to 1.32 of training's share and 0.88 to 1.25 of the "
        "model's, within 0.8 standard errors of it; a season moves training's alone",
    )
    rate_turned: float = _t(
        9.0,
        "Odds ratio between a share of positives and training's from which it may be the share of training's negatives.",
        "our judgement: a quarter for three quarters; nearer to one half a season may do it",
    )
    unit_apart: float = _t(2.0, "Ashman's D above which two heaps are told from one.", "Ashman, Bird & Zepf 1994")
    unit_whole: float = _t(
        0.15, "Distance from a whole power of ten that a factor between two units may have.", "a factor of 1.4 and less"
    )
    unit_power: float = _t(
        2, "Powers of ten from which two scales are two units.", "cents, thousands, millions: no unit is ten times another"
    )
    unit_factor: float = _t(
        5.0,
        "Factor between amounts and those of training from which they are in another unit or currency.",
        "our judgement: no growth between two cut-offs; of the five amounts of a healthy run the factor is 0.94 to 1.01, and "
        "the deciles lie within 0.03 powers of ten of it",
    )
    unit_uneven: float = _t(
        0.2,
        "Distance of a decile from that factor, in powers of ten, which one factor for all leaves.",
        "a factor of 1.6; three standard errors of a decile of 100 amounts that scatter by a factor of four",
    )
    unit_better: float = _t(
        3.0,
        "How much nearer to the amounts at hand two units mixed must be than those of training alone.",
        "the two distances are one in a mixture of a single unit",
    )
    unit_share: float = _t(0.02, "Share of rows in the other unit from which it counts.", JUDGEMENT)
    unit_spread: float = _t(
        1.1,
        "Spread of the labels over that of training that one unit alone does not have.",
        "three standard errors of the spread of 500 normal values; 12 amounts of two healthy runs lie at 0.96 to 1.05",
    )
    leak_tells: float = _t(
        0.98,
        "How well a column must order a label by itself (of 1) to give it away.",
        "an AUC of 0.99; of the 15 tasks of two healthy runs the best column lies at 0.13 to 0.95",
    )
    leak_next: float = _t(
        0.96, "How well the next best column may order it.", "of those tasks the second best lies at 0.10 to 0.73"
    )
    leak_share: float = _t(
        0.98, "Share of rows in which a column says something, below which the words say in how many.", "rounding"
    )
    join_found: float = _t(
        0.05,
        "Skill from which something was found in a task.",
        "half of what boosting reaches on the weakest tasks of the synthetic bank that it can tell at all",
    )
    join_share: float = _t(
        0.5,
        "Share of what training found that must still be possible on these rows, or their labels are not theirs.",
        JUDGEMENT,
    )
    join_tasks: float = _t(
        3,
        "Tasks that are lost by themselves from which all that have no skill count as lost with them.",
        "labels of one table stand in the same rows. One task is lost by chance where two 95 % intervals both fail on the same "
        "side, once in 1,600; three of sixteen once in seven million",
    )
    leak_copies: float = _t(
        3, "Columns that may be copies of the one that gives a label away.", "a column, its raw value, its logarithm"
    )

    # HMM
    hmm_all_default: float = _t(0.99, "Share of rows on the default embedding at which a mode has no data.", REFERENCE)
    hmm_spread: float = _t(
        0.01,
        "Spread of real projections over their norm below which they are all the same.",
        REFERENCE + " (projections identical)",
    )
    hmm_imbalance: float = _t(
        50.0,
        "Largest over smallest gradient norm of the modes.",
        REFERENCE + " (only one mode learns); ten healthy runs (seeds 21 to 25) lie at 2.4 to 24.7: twice as much",
    )
    hmm_untrained: float = _t(1e-3, "Norm of the default embedding below which it has not moved from 0.", REFERENCE)
    hmm_few_default: float = _t(
        0.05, "Share of default rows below which an unmoved default is expected.", REFERENCE + " (default applies to few)"
    )

    # logit transfer
    transfer_ratio: float = _t(
        1.0, "alpha ||proj|| over ||h_expert|| at which the source outweighs the target itself.", JUDGEMENT
    )
    transfer_flips: float = _t(0.25, "Share of decisions that flip when an edge is cut.", REFERENCE + " (CVR leans on CTR)")
    scale_free: float = _t(
        0.01,
        "Dose-response range over the target's standard deviation below which size does not matter.",
        "LayerNorm over a one-dimensional projection",
    )

    # SAE
    sae_dead: float = _t(
        0.5, "Share of dead latents.", "Gao et al. 2024 report up to 90 % without countermeasures, under 10 % with"
    )
    sae_dense: float = _t(
        0.5,
        "Share of latents active in more than 10 % of rows.",
        "Bricken et al. 2023: interpretable latents are active in well under 10 %",
    )
    sae_fve: float = _t(0.5, "Fraction of variance explained below which the SAE does not describe the model.", JUDGEMENT)

    # uncertainty
    zero_evidence: float = _t(0.9, "Share of rows without evidence.", "Sensoy et al. 2018: vacuity 1 is no evidence")
    ece: float = _t(
        0.1, "Expected calibration error over 15 bins.", "Guo et al. 2017: uncalibrated deep networks lie at 0.04 to 0.16"
    )
    ece_multiclass: float = _t(
        0.25,
        "The same for a multiclass task, whose probabilities have no calibration map.",
        "Guo et al. 2017 report up to 0.2 for overconfident classifiers; small healthy runs reach 0.19",
    )
    ece_rows: int = _t(500, "Labelled rows below which ECE is not judged.", "15 bins of about 30 rows")
    uninformative: float = _t(
        0.3,
        "AUROC of uncertainty for errors below which it points the wrong way.",
        "0.5 is chance; evidence counts observations, not noise. Five multiclass tasks of five healthy seeds (21 to 25, not "
        "the benchmark's): mean 0.49, standard deviation 0.061, lowest 0.37; this is three deviations below the mean, "
        "rounded down. On the bank as it is now: 0.47, 0.070, lowest 0.32",
    )

    chance_deviations: float = _t(
        3.0,
        "Standard deviations of chance below 0.5 from which an AUROC of uncertainty for errors is worse than chance.",
        "one in 740 by chance a task; five tasks a run. It stays information: healthy heads are worse than chance beyond their "
        "own interval (0.40 to 0.50 resampled, for one of six tasks of a healthy bank, down to 0.32 on other seeds)",
    )

    # data
    drift_psi: float = _t(
        0.25,
        "Population stability index above which a column has shifted.",
        "Siddiqi 2006, credit scoring: above 0.25 shifted",
    )
    drift_psi_watch: float = _t(
        0.1, "Population stability index above which a column is worth watching.", "Siddiqi 2006: below 0.1 stable"
    )
    drift_part: float = _t(
        0.5, "Share of a part's columns (three at least) that drifted, at which its feed has changed.", JUDGEMENT
    )
    drift_presence: float = _t(0.1, "Change of the share of rows that have a field, from training.", JUDGEMENT)
    drift_columns: float = _t(0.02, "Share of columns that may drift before it is a warning.", JUDGEMENT)
    own_rows_alpha: float = _t(
        0.001,
        "Chance that any column of a healthy data set tells training rows from others.",
        "one data set in a thousand: Bonferroni over all columns, both tests and all cut-offs",
    )
    own_rows_area: float = _t(
        0.05,
        "Distance of an AUC from 0.5, beyond chance, from which a column that tells training rows is a warning.",
        JUDGEMENT,
    )
    own_rows_reach: float = _t(
        0.2,
        "Distance of an AUC from 0.5 that chance alone may reach; with fewer rows nothing is said.",
        "a brand's spread that counted each training customer's own first purchase told them at an AUC of 0.72",
    )
    own_rows_columns: float = _t(
        0.25,
        "Share of columns that tell training rows, above which the split is the reason and not a column.",
        "the widest input has 90 of 1,239 columns, a fourteenth",
    )
    join_kept: float = _t(
        0.6,
        "Share of what other inputs told of an input at training, below which (interval and all) it is not that row's.",
        "measured on a bank of 5,000 customers (seed 101), test rows of a later cut-off: the lowest of its healthy inputs has "
        "0.94 (121 rows) or 0.95 (542 rows), of inputs whose rows were shuffled the 99 % interval ends at 0.02; a part of the "
        "features times 3, which is drift, leaves another with 0.66 (interval to 0.79)",
    )
    stale_steps: float = _t(
        3, "Newest steps of a sequence without events, beyond those of training, from which its feed has stopped.", JUDGEMENT
    )
    stale_events: float = _t(
        20, "Events to be expected in these steps, from which their absence is no chance.", "chance leaves none once in 5e8"
    )
    sentinel_share: float = _t(
        0.01,
        "Share of rows from which a value that training did not share is a stand-in.",
        "one row in a hundred; " + JUDGEMENT,
    )
    repeated_share: float = _t(
        0.01, "Share of rows beyond that of training that say the same as another customer's.", JUDGEMENT
    )
    part_absent: float = _t(
        0.99, "Share of rows without a feature part at which its feed is empty.", REFERENCE + " (input is None)"
    )

    limits: Mapping[str, float] = dataclasses.field(default_factory=dict, metadata={
        "help": "Values of limits that stand beside their check.", "source": "the one who sets them",
    })  # fmt: skip

    def __getitem__(self, limit: Limit) -> float:
        """The value of a check's own limit."""
        return self.limits.get(limit.name, limit.value)

    @staticmethod
    def from_dict(values: Mapping[str, Any], own: Iterable[Limit] = ()) -> Thresholds:
        """Overrides by name, of fields and of the checks' own limits; unknown names are errors with the nearest valid one."""
        fields = {f.name: f for f in dataclasses.fields(Thresholds) if f.name != "limits"}
        limits = {limit.name for limit in own}
        for name in values:
            if name not in fields and name not in limits:
                raise UserError(f"thresholds.{name}: no such threshold{did_you_mean(name, [*fields, *limits])}")
        plain: dict[str, Any] = {
            k: int(v) if fields[k].type == "int" else float(v) for k, v in values.items() if k not in limits
        }
        return Thresholds(**plain, limits={k: float(v) for k, v in values.items() if k in limits})
