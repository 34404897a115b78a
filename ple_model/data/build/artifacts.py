"""Everything fitted on the training split, and its application to rows: the same for the training data and for new customers.

`Fitted.fit` sees training rows only (bounded samples of them); `apply` turns collected arrays into a dataset's columns. The
folder `artifacts/` holds it all without pickle: npz, JSON, and what `ModelContext` and `Market` write.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ple_model.context import HierarchyTree
from ple_model.data.build.collect import PART_NAMES, Collected, chunks
from ple_model.data.build.folds import FOLDS, read_folds
from ple_model.data.build.steps import Array
from ple_model.data.dataset.columns import EMPTY, MONTHS_OF
from ple_model.data.dataset.normalize import Normalizer
from ple_model.data.derived.collaborative import HALVES, MerchantTable, fit_merchants, read_pairs
from ple_model.data.derived.encoder import WEEKS, WeekEncoder, fit_encoder
from ple_model.data.derived.gmm import GmmModel, behaviour, fit_gmm
from ple_model.data.derived.hierarchy import Forest, customer_points
from ple_model.data.derived.hierarchy_uses import fit_forest, read_uses
from ple_model.data.derived.hmm import HmmModel, fit_hmm
from ple_model.data.derived.sequences import BEHAVIOR, LIFECYCLE, MONTHS, SequenceScale
from ple_model.data.events.connect import EventStore
from ple_model.errors import UserError
from ple_model.fields import FIELD_SHAPES, N_NORMALIZED
from ple_model.presence import part_key, presence_columns
from ple_model.safe_arrays import fit_shapes, read_npz, write_npz
from ple_model.safe_paths import check_tree, is_file, write_bytes
from ple_model.safe_text import read_json
from ple_model.schema import PART_SLICES, load_schema
from ple_model.stored import Stored

GMM_SHAPES = {"centre": "c", "axes": "cd", "weights": "k", "means": "kd", "precision_chol": "kdd"}
HMM_SHAPES = {"start": "k", "transition": "kk", "mean": "kd", "var": "kd", "centre": "d", "scale": "d"}
FIT_ROWS = 30_000
JOURNEY_DAYS = 90
RECENT_DAYS = 7 * WEEKS
"""The last days that any fit reads of a row's `daily`."""
MODES = ("journey", "lifecycle", "behavior")
READ_BY_FITS = (
    "features", "parts", "daily", "monthly", "short_stats", "long_stats", "phase", "global_stats", "p_tda_short_diagrams",
    "p_tda_long_diagrams",
)  # fmt: skip
FloatArray = NDArray[np.float32]


def observations(rows: dict[str, Array], mode: str) -> FloatArray:
    """[n, steps, d] that the hidden Markov model of `mode` reads."""
    if mode == "journey":
        return np.log1p(np.maximum(rows["daily"][:, -JOURNEY_DAYS:], 0))
    return np.asarray(rows["monthly"][:, :, list(LIFECYCLE if mode == "lifecycle" else BEHAVIOR)])


def observed(rows: dict[str, Array], mode: str) -> NDArray[np.bool_]:
    """[n] rows with anything to observe in the mode's window."""
    return np.asarray((observations(rows, mode) != 0).any(axis=(1, 2)))


def recent(rows: dict[str, Array]) -> NDArray[np.bool_]:
    """[n] rows with any activity in the last 180 days."""
    return np.asarray((rows["daily"][:, -180:] != 0).any(axis=(1, 2)))


@dataclass(frozen=True)
class Fitted:
    """See the module docstring."""

    normalizer: Normalizer
    global_normalizer: Normalizer
    """Of the 30 global statistics of the diagrams."""
    scale: SequenceScale
    gmm: GmmModel
    hmms: dict[str, HmmModel]
    forest: Forest
    merchants: MerchantTable | None = None
    """Absent where the source knows no merchants."""
    encoder: WeekEncoder | None = None
    """Absent where too few customers are active."""
    notes: tuple[str, ...] = field(default=())

    @staticmethod
    def fit(store: EventStore, collected: Collected, train: NDArray[np.int64], seed: int = 0) -> Fitted:
        """Fit on spine rows `train`."""
        if not len(train):
            raise UserError("the training split has no rows: give more customers or other cut-offs")
        chosen = np.sort(np.random.default_rng(seed).permutation(train)[:FIT_ROWS])
        rows = _read_by_fits(collected, chosen)
        hmms = {
            m: fit_hmm(observations(rows, m)[observed(rows, m)], name=m, seed=seed) for m in MODES if observed(rows, m).any()
        }
        encoder = fit_encoder(rows["daily"][recent(rows)], seed)
        merchants = fit_merchants(store, seed)
        scales = tuple(c.scale for c in load_schema().columns)
        fold = read_folds(store.con)[chosen]
        for part, _ in _pieces(rows):
            _fill_topology(part["features"], part)
            _fill_hmm(part["features"], part, hmms)
        values = rows["features"]
        _fill_encoder(values, rows, encoder)  # all at once: its last bits depend on how many rows it is given
        first = Normalizer.fit(values, scales=scales)
        acts = np.concatenate([behaviour(first.transform(part["features"])) for part, _ in _pieces(rows)])
        gmm = fit_gmm(acts, fold=fold, seed=seed)
        for part, at in _pieces(rows):
            _fill_gmm(part["features"], part, gmm, first, fold[at])
        either = rows["p_tda_short_diagrams"] | rows["p_tda_long_diagrams"]
        statistics = np.where(either[:, None], rows["global_stats"], np.nan)
        return Fitted(
            normalizer=Normalizer.fit(values, scales=scales),
            global_normalizer=Normalizer.fit(statistics),
            scale=SequenceScale.fit(_sequences(collected, chosen)),
            gmm=gmm,
            hmms=hmms,
            forest=fit_forest(store),
            merchants=merchants,
            encoder=encoder,
            notes=(*_told(merchants, encoder), *gmm.notes, *(n for h in hmms.values() for n in h.notes)),
        )

    def raw_statistics(self, collected: Collected, train: NDArray[np.int64]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of the signed log of the raw columns on training rows."""
        index = np.sort(train[:: max(1, len(train) // FIT_ROWS)])
        pieces = (collected.take(index[a:b], "features")["features"][:, N_NORMALIZED:] for a, b in chunks(len(index)))
        raw = np.nan_to_num(np.concatenate([p.astype(np.float64) for p in pieces]))
        logged = np.sign(raw) * np.log1p(np.abs(raw))
        std = logged.std(axis=0)
        return tuple(logged.mean(axis=0).tolist()), tuple(np.where(std > 1e-9, std, 1.0).tolist())

    def apply(self, store: EventStore, collected: Collected, first: int, stop: int) -> dict[str, Array]:
        """Input fields and presence of spine rows `first` <= row_id < `stop`, as a dataset's columns."""
        rows = collected.take(slice(first, stop))
        n = stop - first
        values = rows["features"]
        _fill_topology(values, rows)
        _fill_hmm(values, rows, self.hmms)
        _fill_encoder(values, rows, self.encoder)
        probabilities = _fill_gmm(values, rows, self.gmm, self.normalizer, read_folds(store.con, first, stop))
        features = self.normalizer.transform(values)
        short, long = rows["p_tda_short_diagrams"], rows["p_tda_long_diagrams"]
        spend = read_uses(store, self.forest, first, stop, days=365, by="spend")
        visits = read_uses(store, self.forest, first, stop, days=90, by="visits")
        used = np.zeros(n, np.bool_)
        for row, _, _ in spend.values():
            used[row] = True
        collaborative, knows_merchant = self._collaborative(store, first, stop)
        modes = {m: observed(rows, m) if m in self.hmms else np.zeros(n, np.bool_) for m in MODES}
        fields: dict[str, Array] = {
            "features": features,
            "cluster_ids": probabilities.argmax(axis=1).astype(np.int32),
            "cluster_probs": probabilities,
            "hyperbolic_features": customer_points(self.forest, n, visits),
            "hierarchy_features": customer_points(self.forest, n, spend),
            "tda_features": features[:, PART_SLICES["tda_short"].start : PART_SLICES["phase_transition"].stop],
            "tda_short_diagrams": rows["short_diagrams"],
            "tda_short_mask": rows["short_mask"],
            "tda_long_diagrams": rows["long_diagrams"],
            "tda_long_mask": rows["long_mask"],
            "tda_global_stats": self.global_normalizer.transform(
                np.where((short | long)[:, None], rows["global_stats"], np.nan)
            ),
            "tda_phase_transition": features[:, PART_SLICES["phase_transition"]],
            **{f"hmm_{m}": self._hmm_vectors(rows, m, modes[m]) for m in MODES},
            "txn_seq": rows["txn"] / self.scale.txn,
            "session_seq": rows["session"] / self.scale.session,
            "collaborative_features": collaborative,
            "customer_segment": rows["segment"],
            "coldstart_features": rows["coldstart"],
            "anonymous_features": rows["anonymous"],
        }
        everyone = np.ones(n, np.bool_)
        presence = dict.fromkeys(("customer_segment", "coldstart_features", "anonymous_features"), everyone)
        presence |= {
            "cluster_probs": rows["parts"][:, PART_NAMES.index("rfm")],
            "hyperbolic_features": used,
            "hierarchy_features": used,
        }
        presence |= dict.fromkeys(("tda_features", "tda_global_stats"), short | long)
        presence |= dict.fromkeys(("tda_short_diagrams", "tda_short_mask"), short)
        presence |= dict.fromkeys(("tda_long_diagrams", "tda_long_mask", "tda_phase_transition"), long)
        presence |= {f"hmm_{m}": modes[m] for m in MODES}
        presence |= {
            "txn_seq": rows["p_txn_seq"],
            "session_seq": rows["p_session_seq"],
            "collaborative_features": knows_merchant,
        }
        parts = {name: rows["parts"][:, j] for j, name in enumerate(PART_NAMES)}
        parts |= {"tda_short": short, "tda_long": long, "phase_transition": long, "gmm": presence["cluster_probs"]}
        parts |= {
            "hmm_summary": modes["journey"] | modes["lifecycle"],
            "mamba_temporal": recent(rows) if self.encoder is not None else ~everyone,
        }
        months: dict[str, Array] = {MONTHS_OF + m: self._months(rows, m, modes[m]) for m in MODES if m != "journey"}
        months[EMPTY] = np.isnan(values)
        return fields | months | presence_columns(presence | {part_key(k): v for k, v in parts.items()})

    def _collaborative(self, store: EventStore, first: int, stop: int) -> tuple[FloatArray, NDArray[np.bool_]]:
        if self.merchants is None:
            n = stop - first
            return np.zeros((n, *FIELD_SHAPES["collaborative_features"]), np.float32), np.zeros(n, np.bool_)
        return self.merchants.customers(*read_pairs(store, first, stop), read_folds(store.con, first, stop, HALVES))

    def _hmm_vectors(self, rows: dict[str, Array], mode: str, there: NDArray[np.bool_]) -> FloatArray:
        out = np.zeros((len(there), 16), np.float32)
        if there.any():
            out[there] = self.hmms[mode].vectors(observations(rows, mode)[there])
        return out

    def _months(self, rows: dict[str, Array], mode: str, there: NDArray[np.bool_]) -> NDArray[np.int32]:
        """[n, 12] the state of each month, for whoever explains a row."""
        out = np.full((len(there), MONTHS), -1, np.int32)
        if there.any():
            out[there] = self.hmms[mode].decoded(observations(rows, mode)[there])
        return out

    def save(self, folder: Path) -> None:
        """Write the artifacts; `ModelContext.save` writes the trees."""
        self.normalizer.save(folder)
        self.global_normalizer.save(folder / "global_stats")
        _save(folder / "sequence_scale.npz", {"txn": self.scale.txn, "session": self.scale.session})
        _save(folder / "gmm.npz", self.gmm.arrays())
        for mode, hmm in self.hmms.items():
            _save(folder / f"hmm_{mode}.npz", hmm.arrays())
        if self.merchants is not None:
            _save(folder / "merchants.npz", {"merchants": self.merchants.merchants, "embedding": self.merchants.embedding})
        if self.encoder is not None:
            self.encoder.save(folder / "encoder.safetensors")
        write_bytes(folder / "notes.json", json.dumps(self.notes, ensure_ascii=False).encode())

    @staticmethod
    def load(folder: Path, tree: HierarchyTree) -> Fitted:
        """Read what `save` wrote; `UserError` names a missing or damaged file."""
        check_tree(folder)
        scale = _load(folder / "sequence_scale.npz", {"txn": "t", "session": "s"})
        modes = [m for m in MODES if is_file(folder / f"hmm_{m}.npz")]
        try:
            return Fitted(
                normalizer=Normalizer.load(folder),
                global_normalizer=Normalizer.load(folder / "global_stats"),
                scale=SequenceScale(scale["txn"], scale["session"]),
                gmm=_load_gmm(folder / "gmm.npz"),
                hmms={m: HmmModel(**_load(folder / f"hmm_{m}.npz", HMM_SHAPES)) for m in modes},
                forest=Forest.of(tree),
                merchants=_load_merchants(folder / "merchants.npz"),
                encoder=WeekEncoder.load(path) if is_file(path := folder / "encoder.safetensors") else None,
                notes=_notes(folder / "notes.json"),
            )
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise UserError(f"{folder} does not hold the fitted artifacts of a dataset: {e}") from e


def _read_by_fits(collected: Collected, chosen: NDArray[np.int64]) -> dict[str, Array]:
    """What the fits read of the chosen rows at once: a fifth of what is collected of them."""
    found: dict[str, Array] = {}
    for a, b in chunks(len(chosen)):
        for name, values in collected.take(chosen[a:b], *READ_BY_FITS).items():
            kept = values[:, -RECENT_DAYS:] if name == "daily" else values
            found.setdefault(name, np.empty((len(chosen), *kept.shape[1:]), kept.dtype))[a:b] = kept
    return found


def _pieces(rows: dict[str, Array]) -> Iterator[tuple[dict[str, Array], slice]]:
    """The rows in chunks (views, to fill), and which they are."""
    for a, b in chunks(len(rows["features"])):
        yield {name: values[a:b] for name, values in rows.items()}, slice(a, b)


def _sequences(collected: Collected, chosen: NDArray[np.int64]) -> Iterator[tuple[FloatArray, FloatArray]]:
    for a, b in chunks(len(chosen)):
        found = collected.take(chosen[a:b], "txn", "session")
        yield found["txn"], found["session"]


def _fill_topology(values: FloatArray, rows: dict[str, Array]) -> None:
    for part, name, there in (
        ("tda_short", "short_stats", "p_tda_short_diagrams"),
        ("tda_long", "long_stats", "p_tda_long_diagrams"),
        ("phase_transition", "phase", "p_tda_long_diagrams"),
    ):
        values[:, PART_SLICES[part]] = np.where(rows[there][:, None], rows[name], np.nan)


def _fill_hmm(values: FloatArray, rows: dict[str, Array], hmms: dict[str, HmmModel]) -> None:
    """The five `hmm_summary` columns, by name."""
    index = load_schema().index
    for mode, hmm in hmms.items():
        there = observed(rows, mode)
        vector = hmm.vectors(observations(rows, mode)[there]) if there.any() else np.zeros((0, 16), np.float32)
        p = vector[:, :10]
        numbers = {
            f"hmm_{mode}_top_probability": p.max(axis=1, initial=0.0),
            f"hmm_{mode}_entropy": -(p * np.log(np.maximum(p, 1e-12))).sum(axis=1),
            f"hmm_{mode}_exit_rate": vector[:, 10],
        }
        for name, column in numbers.items():
            if name in index:
                values[:, index[name]] = np.nan
                values[there, index[name]] = column


def _fill_encoder(values: FloatArray, rows: dict[str, Array], encoder: WeekEncoder | None) -> None:
    values[:, PART_SLICES["mamba_temporal"]] = np.nan
    there = recent(rows)
    if encoder is not None and there.any():
        values[there, PART_SLICES["mamba_temporal"]] = encoder.encode(rows["daily"][there])


def _told(merchants: MerchantTable | None, encoder: WeekEncoder | None) -> tuple[str, ...]:
    out = []
    if merchants is None:
        out.append("collaborative_features is absent: too few customers with merchants before the first training cut-off")
    if encoder is None:
        out.append("mamba_temporal is absent: too few active training rows")
    elif encoder.loss >= encoder.naive:
        out.append(f"mamba_temporal forecasts no better than the mean ({encoder.loss:.3f} against {encoder.naive:.3f})")
    return tuple(out)


def _fill_gmm(
    values: FloatArray, rows: dict[str, Array], gmm: GmmModel, normalizer: Normalizer, fold: NDArray[np.int8]
) -> FloatArray:
    """The 22 `gmm` columns; returns the posteriors [n, 20] of every row, known or not."""
    columns = gmm.columns(behaviour(normalizer.transform(values)), fold)
    known = rows["parts"][:, PART_NAMES.index("rfm")]
    values[:, PART_SLICES["gmm"]] = np.where(known[:, None], columns, np.nan)
    return columns[:, :20]


def _notes(path: Path) -> tuple[str, ...]:
    return Stored(path, {"notes": read_json(path)}).texts("notes")


def _save(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    write_npz(path, arrays)


def _load_merchants(path: Path) -> MerchantTable | None:
    if not is_file(path):
        return None
    table = MerchantTable(**_load(path))
    if not table.fits:
        raise UserError(f"{path} is damaged: {len(table.merchants)} merchants, embedding {table.embedding.shape}")
    return table


def read_gmm(folder: Path) -> GmmModel:
    """The mixture alone; `UserError` names a missing or damaged file."""
    return _load_gmm(folder / "gmm.npz")


def read_hmm(folder: Path, mode: str) -> HmmModel:
    """One hidden Markov model alone; `UserError` names a missing or damaged file."""
    return HmmModel(**_load(folder / f"hmm_{mode}.npz", HMM_SHAPES))


def read_scale(folder: Path) -> SequenceScale:
    """The divisors of the sequences alone; `UserError` names a missing or damaged file."""
    found = _load(folder / "sequence_scale.npz", {"txn": "t", "session": "s"})
    return SequenceScale(found["txn"], found["session"])


def _load_gmm(path: Path) -> GmmModel:
    gmm = GmmModel(**_load(path, GMM_SHAPES, k=20))
    if not gmm.folds_fit(FOLDS):
        raise UserError(f"{path} is damaged: its folds are not of its components")
    return gmm


def _load(path: Path, shapes: Mapping[str, str] = MappingProxyType({}), **known: int) -> dict[str, Any]:
    try:
        arrays = read_npz(path)
    except FileNotFoundError as e:
        raise UserError(f"{path} is missing") from e
    fit_shapes(arrays, path, shapes, **known)
    return arrays
