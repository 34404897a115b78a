"""One explanation, part by part.

Integrated gradients give every input's part in the difference to a typical customer (`attribution`, `reference`), sentences say
the strongest in real units (`reasons`), and the explanation tests itself before it speaks (`faithful`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from analysis.engine.explainer import Explainer, single
from analysis.engine.reference import Path as InputPath
from analysis.engine.score import Score, class_names, distribution, shown
from analysis.explain import faithful
from analysis.explain.barred import GROUP, barred_inputs
from analysis.explain.counterfactual import counterfactual
from analysis.explain.lacking import lacking
from analysis.explain.links import Links, Side
from analysis.explain.lookup import Undefined, class_name
from analysis.explain.origin.teller import Teller
from analysis.explain.origin.told import Columns
from analysis.explain.reasons import AGAINST, FOR, Subject, feature_contributions, reasons
from analysis.explain.row_mark import row_digest
from analysis.explain.sensitive import sensitive_columns
from analysis.explain.source_columns import by_source
from analysis.explain.subjects import fact_sums
from analysis.i18n import phrase
from analysis.results.explanation import UNCHANGEABLE, Explanation  # fmt: skip
from analysis.results.explanation_parts import (  # fmt: skip
    Contribution,
    Counterfactual,
    Fallback,
    FeatureContribution,
    Kind,
    Offer,
    Reason,
    Similar,
    TaskPrediction,
    TransferStep,
)
from analysis.results.labels import load_labels
from analysis.wording import given_title, module_title, quantity, title
from ple_model.data.dataset.batches import Batch
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.fields import SEGMENTS
from ple_model.finite import require_finite
from ple_model.intervention import Intervention
from ple_model.output import PLEClusterOutput
from ple_model.presence import is_part, plain_name
from ple_model.run import Run
from ple_model.tasks import HMM_MODES
from ple_model.tasks.record import TaskSpec
from ple_model.uncertainty import FALLBACK_SHARE, row_uncertainty, stored_quantiles

PRINTED = 0.0005
"""A probability's effect below half a tenth of a point is printed as nothing."""


def assemble(
    run: Run, data: Dataset, batch: Batch, task: str, target: int | None, seed: int, barred: Sequence[str],
    sensitive: Sequence[str] = (),
) -> Explanation:  # fmt: skip
    """The explanation of one task (and class) for the one customer in `batch`: no reason that is `barred`, a mark on those that
    are `sensitive`."""
    return Assembly(Explainer.cached(run), data, batch, task, target, seed, barred, sensitive).explanation()


@dataclass
class Assembly:
    """One explanation in the making: what is known of the customer, the task and the class, and a method for each part."""

    explainer: Explainer
    data: Dataset
    batch: Batch
    task: str
    target: int | None
    seed: int
    barred: Sequence[str] = ()
    """What may not be given as a reason."""
    sensitive: Sequence[str] = ()
    """What is marked where a reason speaks of it."""

    def explanation(self) -> Explanation:
        e, task = self.explainer, self.task
        model, spec = e.model, e.model.tasks[self.task]
        inputs = single(self.batch.inputs)
        with torch.no_grad():
            encoded = model.encode(inputs)
            output = model.decode(encoded)
        require_finite(str(self.data.path), inputs, output, self.batch.customer_id)
        if not bool(inputs.defined(task)[0]):
            raise Undefined(task, self.batch.customer_id[0], self.batch.cutoff[0], spec.condition)
        names = class_names(model, task)
        offers = self._choose_target(output, names)
        score = Score(model, task, self.target, e.calibration.get(task))
        undefined = {t: s.condition for t, s in model.tasks.items() if not bool(inputs.defined(t)[0])}

        path = InputPath.of(inputs, e.reference)
        found = e.of_inputs(path, score)
        whole = path.group_values(found.values)
        tested = found.values[path.fields.index("features")][0].double().numpy()
        barred = barred_inputs(model.context.schema, self.barred)
        kept, _ = barred.split(path.fields, found.values, path.fields, 0.0)
        groups = path.group_values(kept)
        every = self._columns(path, kept, inputs.features)
        sources = by_source(model.context.schema, every)
        told_of = replace(found, values=kept)
        sensitive = sensitive_columns(model.context.schema, self.sensitive)
        marked = np.array([c.name in sensitive for c in model.context.schema.columns])
        teller = Teller(e, self.data, self.batch, path, told_of, task, self.target, barred.columns, barred.fields, marked)
        target_name = class_name(names, self.target) if self.target is not None else ""
        subject = self._subject(target_name)
        sign = 1.0 if self.target is not None or found.difference >= 0 else -1.0

        links = Links(teller, subject)
        means = replace(teller.means(sensitive.get), agrees=links.agrees)
        sources = teller.worded(sources)
        told_by = partial(reasons, sources, groups, subject, means=means)
        first, second = (Side.of(told_by, links, x, n) for x, n in ((sign, FOR), (-sign, AGAINST)))
        printed = PRINTED if subject.probability else 0.0
        first, second = first.beside(second, printed), second.beside(first, printed)
        facts = fact_sums(sources, groups, means, own=model.context.schema.own)
        held = barred.split(path.fields, found.values, path.fields, facts.size)[1]
        shown = groups if held is None else {**groups, GROUP: held.value}
        expert_names, experts = e.of_experts(encoded, score)
        return Explanation(
            run=e.run.name,
            customer_id=self.batch.customer_id[0],
            cutoff=self.batch.cutoff[0],
            split=self.batch.split[0],
            segment="unknown" if inputs.customer_segment is None else SEGMENTS[int(inputs.customer_segment[0])],
            cluster=int(inputs.cluster_ids[0]),
            task=task,
            title=spec.title,
            question=spec.question,
            target=self.target,
            target_name=target_name,
            score_unit="value" if spec.kind == "regression" else "probability",
            unit=spec.unit,
            statistic=model.shows(task) if spec.log_scale else "",
            prediction=found.prediction,
            typical=found.baseline,
            population=e.mean_score(score),
            offers=offers,
            predictions=tuple(p for p in self._predictions(output) if self._learned(p.task) and p.task not in undefined),
            undefined={t: c.unmet() for t, c in undefined.items() if self._learned(t)},
            reasons=first.told,
            against=second.told,
            contradicted=_strongest_first(*first.contradicted, *second.contradicted),
            unseen=_strongest_first(*first.unseen, *second.unseen),
            compared=("", "") if teller.similar is None else teller.similar.who(),
            groups=_ranked(shown, _group_title, lambda g: GROUP if g == GROUP else "field" if g in path.fields else "part"),
            features=tuple(_listed(f, teller, sensitive) for f in every[:30]),
            experts=self._experts(expert_names, experts.values),
            experts_typical=experts.baseline,
            concepts=self._concepts(encoded, experts.gradients[0], experts.values[0]),
            transfer=self._transfer(output, score),
            similar=self._similar(encoded, score, names),
            faithfulness=self._faithfulness(path, score, found, whole, tested),
            counterfactual=self._counterfactual(path, score, found.gradients, teller.columns, names, barred.columns, sensitive),
            absent=_absent(path.absent, model.context.own is not None),
            lacking=lacking(path.absent, e.peers, model.context.own is not None),
            audit=self._audit(found.nodes, experts.nodes) | {"customer_row": row_digest(inputs)},
            size=facts.size,
            told=facts.told,
            counts=facts.counts,
            subjects=facts.subjects,
            unsaid=facts.unsaid,
            unnamed=facts.unnamed,
            unnamed_key=facts.unnamed_key,
            barred=held,
            came=_came(self.batch, self.task, spec, names),
            reliability=None if e.reliability is None else e.reliability.around(task, self.target or 0, found.prediction),
            fallback=self._fallback(output),
        )

    def _choose_target(self, output: PLEClusterOutput, names: Sequence[str]) -> tuple[Offer, ...]:
        """The class that is explained, the likeliest where none was asked for; the likeliest classes as offers."""
        spec = self.explainer.model.tasks[self.task]
        if spec.kind in ("multiclass", "contrastive"):
            p = distribution(self.explainer.model, output, self.task)[0]
            self.target = int(p.argmax()) if self.target is None else self._class(self.target, len(p), names)
            return tuple(Offer(int(i), class_name(names, int(i)), float(p[i])) for i in p.argsort(descending=True)[:12])
        self.target = self._class(self.target or 0, spec.out_dim, names) if spec.out_dim > 1 else None
        return ()

    def _columns(self, path: InputPath, values: Sequence[Any], features: torch.Tensor) -> tuple[FeatureContribution, ...]:
        """Every column's part in the difference, told in real units."""
        position = path.fields.index("features")
        columns = values[position][0].double().numpy()
        normalizer = self.data.normalizer()
        own = normalizer.inverse(features.numpy())[0]
        typical = normalizer.inverse(path.starts[position].numpy())[0]
        return feature_contributions(self.explainer.model.context.schema, columns, own, typical, limit=None)

    def _subject(self, target_name: str) -> Subject:
        """What the reasons' sentences speak of."""
        spec, label = self.explainer.model.tasks[self.task], self.explainer.model.context.own_labels.get(self.task)
        said = target_name if target_name or label is None else label.title
        return Subject(self.task, spec.title, said, spec.kind != "regression", spec.unit, self.batch.cutoff[0])

    def _class(self, target: int, classes: int, names: Sequence[str]) -> int:
        if not 0 <= target < classes:
            raise UserError(f"{self.task}: no class {target}, valid: 0 to {classes - 1} ({', '.join(names[:12])})")
        return target

    def _learned(self, task: str) -> bool:
        """A task without training labels has a tower all the same; what it says is no prediction."""
        return self.explainer.model.context.learned(task)

    def _predictions(self, output: PLEClusterOutput) -> tuple[TaskPrediction, ...]:
        e, found = self.explainer, []
        for task, spec in e.model.tasks.items():
            value, top = shown(e.model, output, task, e.calibration)
            head = output.evidential.get(task)
            u = a = rank = None
            if head is not None:
                known = e.population[task][1]
                raw, noise = float(head.uncertainty.mean()), float(head.aleatoric.mean())
                rank = None if known is None else float((known < raw).mean())
                u, a = (raw**0.5, noise**0.5) if spec.kind == "regression" else (raw, noise)
            label = "" if top is None else class_name(class_names(e.model, task), int(top[0]))
            unit = spec.unit if spec.kind == "regression" else "probability"
            found.append(
                TaskPrediction(
                    task, spec.title, spec.kind, float(value[0]), unit, label, task in e.calibration, u, a, rank
                )
            )  # fmt: skip
        return tuple(found)

    def _fallback(self, output: PLEClusterOutput) -> Fallback | None:
        """Whether the uncertainty lies above what validation customers rarely have, as `ple predict` marks it."""
        head, known = output.evidential.get(self.task), stored_quantiles(self.explainer.run) or {}
        if head is None or self.task not in known:
            return None
        threshold = known[self.task].threshold(FALLBACK_SHARE)
        return Fallback(float(row_uncertainty(head)[0]) > threshold, threshold, FALLBACK_SHARE, known[self.task].n)

    def _experts(self, names: tuple[str, ...], values: Sequence[Any]) -> tuple[Contribution, ...]:
        model = self.explainer.model
        by_name = dict(zip(names, values, strict=True))
        start, parts = 0, {}
        for expert, width in zip(model.expert_names, model.dims, strict=True):
            parts[expert] = float(by_name["shared"][:, start : start + width].double().sum())
            start += width
        modes = {m: float(by_name[m].double().sum()) for m in names if m in HMM_MODES}
        cluster = float(by_name["cluster_embedding"].double().sum() + by_name["cluster_weights"].double().sum())
        parts |= {m: v for m, v in modes.items() if v != 0} | {"cluster": cluster}
        if "direct_path" in by_name:
            parts["direct_path"] = float(by_name["direct_path"].double().sum())
        named: dict[str, str] = dict.fromkeys(modes, "hmm") | {"cluster": "cluster", "direct_path": "direct"}

        def kind(key: str) -> str:
            return named.get(key, "expert")

        return _ranked(parts, module_title, kind)

    def _concepts(self, encoded: Any, gradient: Any, values: Any, limit: int = 8) -> tuple[Contribution, ...]:
        """SAE latents' parts: the step from the mean representation, written as latents plus what the SAE leaves."""
        sae = self.explainer.model.sae
        if sae is None:
            return ()
        mean = self.explainer.encoded.shared_concat.mean(0, keepdim=True)
        z = [sae.encode(sae.standardise(h.float()))[0][0].double() for h in (encoded.shared_concat[:1], mean)]
        direction = sae.decoder.double().T @ (gradient[0].double() * sae.std.double())
        each = (z[0] - z[1]) * direction
        rest = float(values.double().sum() - each.sum())
        labels = load_labels(self.explainer.run)
        top = each.abs().argsort(descending=True)[:limit]
        size = float(each.abs().sum()) + abs(rest) or 1.0
        found = [
            Contribution(f"latent {int(j)}", labels.get(int(j), f"latent {int(j)}"), "latent", float(each[j]),
            abs(float(each[j])) / size) for j in top
            if float(each[j]) != 0
        ]  # fmt: skip
        other = float(each.sum()) - sum(c.value for c in found)
        found.append(Contribution("other latents", "all other latents", "rest", other, abs(other) / size))
        found.append(Contribution("unexplained", "not explained by the SAE", "rest", rest, abs(rest) / size))
        return tuple(found)

    def _transfer(self, output: PLEClusterOutput, score: Score) -> tuple[TransferStep, ...]:
        """Edges that lead to the task, nearest first."""
        model = self.explainer.model
        wanted, edges = [self.task], []
        for task in wanted:
            for edge in model.edges:
                if edge.target == task and edge not in edges:
                    edges.append(edge)
                    wanted.append(edge.source)
        found = self._predictions(output) if edges else ()
        texts = {p.task: p.said() if self._learned(p.task) else "no label in training" for p in found}
        steps = []
        for edge in edges:
            with torch.no_grad():
                cut = model.decode(output.encoded, Intervention(edge_scale={edge.key: 0.0}), sae=False, evidential=False)
                effect = float(score(output)[0] - score(cut)[0])
            norm = float(output.task_expert[edge.target].norm())
            ratio = float(output.transfer[edge.key].norm()) / norm if norm > 0 else float("nan")
            steps.append(TransferStep(edge.key, edge.source, edge.target, texts[edge.source], effect, ratio))
        return tuple(steps)

    def _similar(self, encoded: Any, score: Score, names: Sequence[str]) -> tuple[Similar, ...]:
        e = self.explainer
        near = e.nearest(encoded, self.batch.customer_id[0])
        if not near:
            return ()
        rows = torch.tensor([i for i, _ in near])
        with torch.no_grad():
            values = score(e.model.decode(e.encoded.rows(rows), sae=False, evidential=False))
        labels = e.targets.get(self.task)
        found = []
        for (i, distance), value in zip(near, values, strict=True):
            outcome, text = None, ""
            if labels is not None and labels.dim() == 1:
                outcome, text = _outcome(float(labels[i]), e.model.tasks[self.task], names)
            found.append(Similar(e.customers[i], e.cutoffs[i], distance, float(value), outcome, text))
        return tuple(found)

    def _faithfulness(
        self, path: Any, score: Score, found: Any, groups: Mapping[str, float], columns: NDArray[np.float64]
    ) -> Any:
        e = self.explainer
        spread = float(np.std(e.population[self.task][0])) or 1.0
        size = sum(abs(v) for v in groups.values())
        # a difference that is small beside what cancels out, or beside how customers differ, gives no order to test
        enough = abs(found.difference) > 0.05 * spread and abs(found.difference) > 0.02 * size
        values = np.array([groups[g] for g in path.groups])
        removed = None
        if len(values) >= 4:
            removed = faithful.removal(
                values, lambda keep: e.value_of_groups(path, score, keep), found.prediction, found.baseline, seed=self.seed
            )
        fresh = Score(e.untrained, self.task, self.target, None)
        other = e.of_inputs(path, fresh, nodes=16, model=e.untrained)
        strange = other.values[path.fields.index("features")][0].double().numpy()
        # beside a prediction that is all but typical, rounding would look like a gap: then how customers differ is the measure
        gap = abs(found.total - found.difference) / max(abs(found.difference), 0.1 * spread)
        return faithful.judge(gap, removed, faithful.alike(columns, strange), enough=enough)

    def _counterfactual(
        self, path: InputPath, score: Score, gradients: Sequence[Any], columns: Columns, names: Sequence[str],
        barred: NDArray[np.bool_], sensitive: Mapping[str, Kind],
    ) -> Counterfactual | None:  # fmt: skip
        spec = self.explainer.model.tasks[self.task]
        fixed = self.task in UNCHANGEABLE and not given_title(self.task, spec.title)
        if fixed or spec.kind == "regression":
            return None  # what somebody is, or a number without a line at which it would turn
        gradient = gradients[path.fields.index("features")][0].double().numpy()
        choices = list(names) if spec.kind in ("multiclass", "contrastive") else []
        return counterfactual(
            self.explainer, path, score, gradient, columns, self.data.normalizer(), choices, self.batch.customer_id[0], barred,
            self.explainer.run.config.explanations.held, sensitive,
        )  # fmt: skip

    def _audit(self, nodes: int, expert_nodes: int) -> dict[str, Any]:
        e, m = self.explainer, self.explainer.run.manifest
        try:
            release = version("ple-scope")
        except PackageNotFoundError:
            release = "not installed"
        return {
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "run": e.run.name,
            "weights_sha256": e.weights_sha256,
            "training_data": m.data.fingerprint,
            "customer_data": self.data.manifest.fingerprint,
            "method": "integrated gradients, Gauss-Legendre",
            "nodes": nodes,
            "expert_nodes": expert_nodes,
            "reference": "median columns and mean sequences of the run's sample, absent inputs held fixed",
            "reference_rows": e.reference.rows,
            "seed": self.seed,
            "barred": list(self.barred),
            "sensitive": list(self.sensitive),
            "held": list(e.run.config.explanations.held),
            "version": release,
        }


def _strongest_first(*found: Reason) -> tuple[Reason, ...]:
    return tuple(sorted(found, key=lambda r: -abs(r.contribution)))


def _listed(f: FeatureContribution, teller: Teller, sensitive: Mapping[str, Kind]) -> FeatureContribution:
    """A column for the list of single ones: without a value where it has nothing to say, with its mark."""
    return replace(f, value=np.nan if teller.cell(f.name) == "nothing" else f.value, sensitive=sensitive.get(f.name))


def _group_title(group: str) -> str:
    return phrase("barred.title", "en") if group == GROUP else title(group)


def _ranked(values: Mapping[str, float], named: Any, kind: Any) -> tuple[Contribution, ...]:
    size = sum(abs(v) for v in values.values()) or 1.0
    order = sorted(values, key=lambda k: -abs(values[k]))
    return tuple(Contribution(k, named(k), kind(k), values[k], abs(values[k]) / size) for k in order)


def _absent(absent: tuple[str, ...], own: bool) -> tuple[str, ...]:
    """What this customer lacks; of a table of one's own columns only its empty cells: no customer there has anything else."""
    return tuple(plain_name(a) for a in absent if is_part(a)) if own else absent


def _outcome(y: float, spec: TaskSpec, names: Sequence[str]) -> tuple[float | None, str]:
    """(what a label says in the task's unit, in words); None and empty where it is not known."""
    if spec.kind == "regression" and np.isfinite(y):
        outcome = float(np.expm1(y)) if spec.log_scale else y
        return outcome, quantity(outcome, spec.unit)
    if spec.kind != "regression" and y >= 0:
        return y, ("yes" if y else "no") if spec.kind == "binary" else class_name(names, int(y))
    return None, ""


def _came(batch: Batch, task: str, spec: TaskSpec, names: Sequence[str]) -> tuple[float | None, str]:
    """What happened, of the one customer in `batch`."""
    labels = (batch.inputs.targets or {}).get(task)
    return (None, "") if labels is None or labels.dim() != 1 else _outcome(float(labels[0]), spec, names)
