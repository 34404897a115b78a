"""The synthetic bank: the same seed gives the same bank, base rates hold, and each planted cause is visible in events alone."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ple_model.data.checking.validation import validate
from ple_model.data.events.connect import EventStore, connect
from ple_model.data.synth import BLOCK, Block, generate, simulate_block
from ple_model.data.synth.activity import category_weights, loop_factor, mean_gap, visit_days
from ple_model.data.synth.truth import CAUSE_EXPERT, truth_rows
from ple_model.data.synth.world import (
    BRANDS,
    COMMUNITY_BRAND,
    CUTOFFS,
    DAYS,
    LEAVES,
    LIFE_EVENTS,
    START,
    WEEKS,
    Strengths,
)
from ple_model.errors import UserError
from ple_model.tasks import CHANNELS, OFFERS, TASKS

pytestmark = pytest.mark.slow

CUSTOMERS = 4000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synth") / "bank"
    generate(out, CUSTOMERS, seed=11)
    return out


@pytest.fixture(scope="module")
def store(folder: Path) -> EventStore:
    return connect(folder, threads=1)


@pytest.fixture(scope="module")
def blocks() -> list[Block]:
    return [simulate_block(11, k) for k in range(4)]


def _row(store: EventStore, sql: str) -> tuple[float, ...]:
    return store.con.execute(sql).fetchall()[0]


def _column(block: Block, table: str, name: str) -> np.ndarray:
    return block.tables[table][name].to_numpy(zero_copy_only=False)


def _who(block: Block, table: str) -> np.ndarray:
    first = int(block.tables["customers"]["customer_id"][0].as_py()[1:])
    return np.array([int(v[1:]) - first for v in block.tables[table]["customer_id"].to_pylist()])


def _day(block: Block, table: str, name: str = "ts") -> np.ndarray:
    return (_column(block, table, name).astype("datetime64[D]") - np.datetime64("2023-07-01")).astype(int)


# determinism and size


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        generate(tmp_path / name, 60, seed)
    for table in ("customers", "transactions", "campaigns", "truth", "probabilities"):
        a, b, c = ((tmp_path / n / f"{table}.parquet").read_bytes() for n in "abc")
        assert a == b
        assert a != c


def test_the_first_customers_do_not_depend_on_how_many_are_asked_for_or_by_how_many_processes(tmp_path: Path) -> None:
    generate(tmp_path / "few", BLOCK + 40, 5)
    generate(tmp_path / "many", 2 * BLOCK + 10, 5, workers=2)
    last = f"C{BLOCK + 39:08d}"
    for table in ("customers", "transactions", "holdings", "truth"):
        few = pq.read_table(tmp_path / "few" / f"{table}.parquet")
        many = pq.read_table(tmp_path / "many" / f"{table}.parquet", filters=[("customer_id", "<=", last)])
        assert few.equals(many)


def test_the_folder_validates_without_any_fault_and_records_its_rows(folder: Path) -> None:
    report = validate(folder)
    assert report.faults == ()
    assert report.tables["customers"] == CUSTOMERS
    assert set(report.tables) >= {
        "sessions",
        "holdings",
        "campaigns",
        "insurance",
        "consultation",
        "overseas",
        "investment",
        "truth",
    }


@pytest.mark.parametrize(("customers", "seed"), [(0, 1), (-5, 1), (10, -1)])
def test_impossible_sizes_are_refused(tmp_path: Path, customers: int, seed: int) -> None:
    with pytest.raises(UserError, match="must be"):
        generate(tmp_path / "x", customers, seed)


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "keep.txt").write_text("mine")
    with pytest.raises(UserError, match="not an empty folder"):
        generate(tmp_path, 10, 1)
    assert (tmp_path / "keep.txt").read_text() == "mine"


# base rates


def test_click_and_conversion_rates_of_exposures_are_near_the_reference(store: EventStore) -> None:
    n, ctr, cvr = _row(store, "SELECT count(*), count(clicked_at) / count(*), count(converted_at) / count(*) FROM campaigns")
    assert ctr == pytest.approx(0.038, abs=0.003)
    assert cvr == pytest.approx(0.0053, abs=0.0009)
    assert n / CUSTOMERS > 10
    assert n * cvr * 10_000 / CUSTOMERS > 500
    assert n * ctr * 10_000 / CUSTOMERS > 5000


def _churn(store: EventStore) -> None:
    cutoffs = ", ".join(f"(DATE '{c}')" for c in CUTOFFS)
    store.con.execute(f"""
        CREATE OR REPLACE TEMP TABLE activity AS
        SELECT s.customer_id, s.cutoff, bool_or(day < cutoff) AS before, bool_or(day >= cutoff AND day < cutoff + 28) AS after,
               bool_or(day >= cutoff + 56 AND day < cutoff + 84) AS late
        FROM (SELECT customer_id, cutoff FROM customers, (VALUES {cutoffs}) v(cutoff) WHERE joined_on < cutoff) s
        LEFT JOIN (SELECT customer_id, ts::DATE AS day FROM transactions UNION SELECT customer_id, ts::DATE FROM sessions) a
          ON a.customer_id = s.customer_id AND day >= cutoff - 28
        GROUP BY ALL""")


def test_churn_among_the_active_and_retention_are_near_the_reference(store: EventStore) -> None:
    _churn(store)
    churn = _row(store, "SELECT avg((NOT after)::INT) FROM activity WHERE before")[0]
    retention = _row(store, "SELECT avg(coalesce(late, false)::INT) FROM activity")[0]
    assert churn == pytest.approx(0.0515, abs=0.009)
    assert retention == pytest.approx(0.8595, abs=0.02)


def test_presence_varies_some_have_no_app_some_are_anonymous_some_joined_lately(store: EventStore) -> None:
    no_app = _row(store, "SELECT avg((customer_id NOT IN (SELECT customer_id FROM sessions))::INT) FROM customers")[0]
    anonymous = _row(store, "SELECT avg((birth_year IS NULL)::INT) FROM customers")[0]
    late = _row(store, f"SELECT avg((joined_on >= DATE '{CUTOFFS[0]}')::INT) FROM customers")[0]
    assert 0.05 < no_app < 0.25
    assert 0.015 < anonymous < 0.05
    assert 0.03 < late < 0.2


# causes


def test_causes_act_on_events_only_the_customers_table_is_the_same_without_them() -> None:
    with_causes = simulate_block(3, 0)
    without = simulate_block(
        3, 0, Strengths(loop_break=0, fading=0, complaint=0, interaction=0, deepening=0, shape_growth=0, tail_chance=0)
    )
    assert with_causes.tables["customers"].equals(without.tables["customers"])
    assert not with_causes.tables["transactions"].equals(without.tables["transactions"])


def test_every_row_of_the_truth_names_a_known_task_and_a_cause_at_work_within_the_history(store: EventStore) -> None:
    rows = store.con.execute("SELECT cause, task, count(*), avg(abs(effect)) FROM truth GROUP BY ALL").fetchall()
    assert {task for _, task, _, _ in rows} <= set(TASKS)
    assert {cause for cause, _, _, _ in rows} >= set(CAUSE_EXPERT)
    assert all(effect > 0 for _, _, _, effect in rows)
    assert (
        _row(store, "SELECT count(*) FROM truth WHERE until < since OR customer_id NOT IN (SELECT customer_id FROM customers)")[
            0
        ]
        == 0
    )


def test_truth_spells_are_the_weeks_the_story_tells() -> None:
    block = simulate_block(3, 1)
    truth = truth_rows(block.people, block.story, Strengths())
    mine = np.array([truth.cause[c] == "loop_break" and truth.task[c] == "churn" for c in truth.code])
    weeks = np.zeros((BLOCK, WEEKS), int)
    for who, since, until in zip(truth.customer[mine], truth.since[mine], truth.until[mine], strict=True):
        weeks[who, since // 7 : until // 7] = 1
    np.testing.assert_array_equal(weeks, block.story.broken_from)


def test_a_broken_loop_raises_churn(store: EventStore) -> None:
    _churn(store)
    rows = store.con.execute("""
        SELECT broken, avg((NOT after)::INT), count(*) FROM (
            SELECT a.*, EXISTS (SELECT 1 FROM truth t WHERE t.customer_id = a.customer_id AND t.cause = 'loop_break'
                                AND t.since < a.cutoff - 3 AND t.until > a.cutoff - 21) AS broken FROM activity a WHERE before)
        GROUP BY 1 ORDER BY 1""").fetchall()
    assert rows[1][2] > 300
    assert rows[1][1] > 2.5 * rows[0][1]


def test_a_broken_loop_keeps_the_distribution_of_days_and_loses_the_cycle() -> None:
    rng = np.random.default_rng(0)
    block = simulate_block(11, 0)
    whole = loop_factor(block.people, _with(block, broken=0), rng)[block.people.loop_amplitude > 0]
    broken = loop_factor(block.people, _with(block, broken=1), rng)[block.people.loop_amplitude > 0]
    assert np.quantile(broken, [0.1, 0.5, 0.9]) == pytest.approx(np.quantile(whole, [0.1, 0.5, 0.9]), rel=0.05)
    period = np.round(block.people.loop_period[block.people.loop_amplitude > 0]).astype(int)

    def cycle(x: np.ndarray) -> float:
        return float(np.mean([np.corrcoef(r[:-p], r[p:])[0, 1] for r, p in zip(x, period, strict=True)]))

    assert cycle(whole) > 0.7
    assert abs(cycle(broken)) < 0.15


def _with(block: Block, broken: int):  # type: ignore[no-untyped-def]
    from dataclasses import replace

    return replace(block.story, broken_from=np.full_like(block.story.broken_from, broken))


def test_the_next_visit_is_soon_after_a_late_one_and_goes_online_and_the_mean_gap_does_not_tell() -> None:
    block = simulate_block(11, 0)
    people = block.people
    visits = visit_days(people, block.story, np.random.default_rng(1))
    swing = (people.gap_long - people.gap_short) / (people.gap_long + people.gap_short)
    regular = ~people.irregular & (people.gap_long < 12)

    def ratio(chosen: np.ndarray) -> float:
        after: dict[bool, list[np.ndarray]] = {True: [], False: []}
        for days, late in zip(visits.days[chosen], visits.late[chosen], strict=True):
            at = np.nonzero(days)[0]
            gaps = np.diff(at)
            kept = gaps < 20
            for kind in after:
                after[kind].append((gaps / max(gaps.mean(), 1.0))[kept & (late[at[:-1]] == kind)] if len(gaps) else gaps)
        return float(np.concatenate(after[True]).mean() / np.concatenate(after[False]).mean())

    assert ratio(regular & (swing > 0.5)) < 0.6
    assert ratio(people.irregular) == pytest.approx(1.0, abs=0.15)
    mean = mean_gap(people)
    late, early = (
        mean[~people.irregular & (mean < 9) & (swing > 0.4) & (people.evening == kind)].mean() for kind in (True, False)
    )
    assert late == pytest.approx(early, rel=0.2)  # without the correction of the pace: 0.6

    who, day = _who(block, "transactions"), _day(block, "transactions")
    card = np.nonzero(_column(block, "transactions", "kind") == "card")[0]
    order = card[np.lexsort((day[card], who[card]))]
    first = order[np.append(True, (np.diff(who[order]) != 0) | (np.diff(day[order]) != 0))]
    hour = _column(block, "transactions", "ts").astype("datetime64[s]").astype(np.int64) % 86_400 / 3600
    online = _column(block, "transactions", "channel") != CHANNELS[0]
    follows = who[first][1:] == who[first][:-1]
    late_before = hour[first][:-1] > 14.75
    after_late, after_early = (online[first][1:][follows & (late_before == kind)].mean() for kind in (True, False))
    assert after_late > after_early + 0.4


def test_people_of_one_taste_community_buy_the_same_brand_in_every_leaf(blocks: list[Block]) -> None:
    block = blocks[0]
    brand = np.array(
        [BRANDS.index(b) if b is not None else -1 for b in block.tables["transactions"]["brand"].to_pylist()[:20_000]]
    )
    who = _who(block, "transactions")[: len(brand)]
    card = brand >= 0
    leaf = brand[card] // 4
    share = np.mean(brand[card] % 4 == COMMUNITY_BRAND[block.people.community[who[card]], leaf])
    assert 0.7 < share < 0.95
    assert len(LEAVES) == COMMUNITY_BRAND.shape[1]


def test_heavy_tails_show_in_the_largest_amounts_and_not_in_the_median(blocks: list[Block]) -> None:
    heavy, light = [], []
    for block in blocks:
        card = _column(block, "transactions", "kind") == "card"
        amount, who = _column(block, "transactions", "amount")[card], _who(block, "transactions")[card]
        amount = amount / np.exp(0.5 * (np.log(block.people.income[who]) - 8.0))
        heavy.append(amount[block.people.heavy_tail[who]])
        light.append(amount[~block.people.heavy_tail[who]])
    h, k = np.concatenate(heavy), np.concatenate(light)
    assert np.median(h) == pytest.approx(np.median(k), rel=0.08)
    assert np.quantile(h, 0.99) > 2 * np.quantile(k, 0.99)


def test_very_long_sessions_tell_of_the_age_and_most_are_longer_ago_than_three_months(blocks: list[Block]) -> None:
    ever, lately, age = [], [], []
    cut = (CUTOFFS[0] - START).days
    for block in blocks:
        who, day = _who(block, "sessions"), _day(block, "sessions")
        long = _column(block, "sessions", "events") >= 300
        app = np.isin(np.arange(BLOCK), who[(day < cut) & (day >= cut - 120)]) & (block.people.joined < 0)
        for out, since in ((ever, 365), (lately, 90)):
            chosen = long & (day < cut) & (day >= cut - since)
            out.append(np.isin(np.arange(BLOCK), who[chosen])[app])
        age.append(block.people.age[app])
    e, late, a = np.concatenate(ever), np.concatenate(lately), np.concatenate(age)
    middle = (a >= 30) & (a <= 55)
    assert e[~middle].mean() > 0.6
    assert e[middle].mean() < 0.08
    assert late.sum() < 0.5 * e.sum()


def test_amounts_turn_two_humped_at_the_same_mean_and_spread_and_grow_afterwards(blocks: list[Block]) -> None:
    before, during, after = [], [], []
    for block in blocks:
        card = _column(block, "transactions", "kind") == "card"
        who, week = _who(block, "transactions")[card], _day(block, "transactions")[card] // 7
        people = block.people
        z = np.log(_column(block, "transactions", "amount")[card])
        started = (block.story.shape_start[who] >= 0) & ~people.heavy_tail[who]
        since = week - block.story.shape_start[who]
        before.append(z[started & (since >= -16) & (since < 0)])
        during.append(z[started & (since >= 0) & (since < 8)])
        after.append(z[started & (since >= 8) & (since < 24)])
    b, d, a = (np.concatenate(v) for v in (before, during, after))
    assert d.mean() == pytest.approx(b.mean(), abs=0.06)
    assert d.std() == pytest.approx(b.std(), rel=0.06)
    assert a.mean() - b.mean() == pytest.approx(Strengths().shape_growth, abs=0.12)


def test_a_category_spreads_over_its_leaves_before_it_grows(blocks: list[Block]) -> None:
    block = blocks[0]
    weights = np.diff(category_weights(block.people, block.story, Strengths()), axis=2, prepend=0.0)
    who = np.nonzero((block.story.deep_start >= 8) & (block.story.deep_start < WEEKS - 16))[0]
    share = weights[who, :, block.story.deep_category[who]]
    exploring = share[np.arange(len(who)), (block.story.deep_start[who] + 4) // 2]
    growing = share[np.arange(len(who)), (block.story.deep_start[who] + 14) // 2]
    assert np.mean(growing > 1.3 * exploring) > 0.8
    assert np.log(growing / exploring).mean() > 0.5


def test_clicks_follow_the_interaction_and_neither_factor_alone(blocks: list[Block]) -> None:
    people = [b.people for b in blocks]
    savings, evening = (np.concatenate([getattr(p, f) for p in people]) for f in ("savings", "evening"))
    who = np.concatenate([_who(b, "campaigns") + BLOCK * k for k, b in enumerate(blocks)])
    clicked = np.concatenate([~np.isnat(_column(b, "campaigns", "clicked_at")) for b in blocks])
    agree = (savings == evening)[who]
    assert clicked[agree].mean() > 2.5 * clicked[~agree].mean()
    for alone in (savings, evening):
        assert clicked[alone[who]].mean() == pytest.approx(clicked[~alone[who]].mean(), rel=0.25)


def test_an_income_shock_runs_down_the_chain_salary_utilisation_consultation_response(blocks: list[Block]) -> None:
    shock = [e.name for e in LIFE_EVENTS].index("income_shock")
    early, late, salary_before, salary_after, debt, offers, before = [], [], [], [], 0, [], []
    hit = 0
    for block in blocks:
        day = block.story.event_day[:, shock]
        hit += int((day < DAYS).sum())
        who, at = _who(block, "holdings"), _day(block, "holdings", "as_of")
        limit = _column(block, "holdings", "credit_limit")
        share = _column(block, "holdings", "balance") / limit
        since = at - day[who]
        affected = (day[who] < DAYS) & ~np.isnan(limit)
        early.append(share[affected & (since > -90) & (since < 0)])
        late.append(share[affected & (since > 60) & (since < 150)])
        paid = (_column(block, "transactions", "kind") == "deposit") & (_column(block, "transactions", "amount") > 0)
        c, d = _who(block, "transactions")[paid], _day(block, "transactions")[paid]
        ratio = _column(block, "transactions", "amount")[paid] / block.people.income[c]
        salary_before.append(ratio[(day[c] < DAYS) & (d < day[c])])
        salary_after.append(ratio[(day[c] < DAYS) & (d >= day[c]) & (d < day[c] + 7 * LIFE_EVENTS[shock].weeks)])
        debt += len(
            {
                w
                for w, k in zip(_who(block, "consultation"), block.tables["consultation"]["kind"].to_pylist(), strict=True)
                if k == "debt advice"
            }
        )
        w, e = _who(block, "campaigns"), _day(block, "campaigns", "exposed_at")
        responded = ~np.isnat(_column(block, "campaigns", "clicked_at"))
        answered = np.array(block.tables["campaigns"]["offer"].to_pylist())
        offers += answered[responded & (e >= day[w] + 10) & (e < day[w] + 180)].tolist()
        before += answered[responded & (e < day[w])].tolist()
    assert np.concatenate(late).mean() - np.concatenate(early).mean() > 0.2
    assert np.median(np.concatenate(salary_after)) < 0.6 * np.median(np.concatenate(salary_before))
    assert 0.3 < debt / hit < 0.8
    assert offers.count("instalment loan") / len(offers) > 3 * before.count("instalment loan") / len(before)


def test_silent_customers_leave_no_trace_at_all(blocks: list[Block]) -> None:
    block = blocks[0]
    for table in ("transactions", "sessions"):
        who, day = _who(block, table), _day(block, table)
        assert not (block.story.regime[who, day // 7] == 3).any()
        assert (day >= np.maximum(block.people.joined[who], 0)).all()


# planted probabilities


def test_the_planted_probabilities_are_what_happens(blocks: list[Block]) -> None:
    """Of `ctr` and `nba`: as many clicks as they say, and which offer is answered better than the shares of the offers say."""
    expected, seen, loss, constant = 0.0, 0, [], []
    for block in blocks:
        con = duckdb.connect()
        con.register("campaigns", block.tables["campaigns"])
        con.register("planted", block.tables["probabilities"])
        con.execute("CREATE VIEW cutoffs AS SELECT DISTINCT customer_id, cutoff FROM planted")
        within = "JOIN cutoffs USING (customer_id) WHERE exposed_at >= cutoff AND exposed_at < cutoff + 84"
        found = con.execute(f"""
            SELECT sum(p), sum(clicked), count(*) FROM planted JOIN (
                SELECT customer_id, cutoff, arg_min((clicked_at IS NOT NULL)::INT, exposed_at) AS clicked
                FROM campaigns {within} GROUP BY ALL) USING (customer_id, cutoff) WHERE task = 'ctr'""").fetchall()[0]
        expected, seen = expected + found[0], seen + found[1]
        answered = con.execute(f"""
            SELECT p FROM (
                SELECT customer_id, cutoff, list_position({list(OFFERS)}, arg_min(offer, clicked_at)) - 1 AS class
                FROM campaigns {within} AND clicked_at < cutoff + 84 GROUP BY ALL
            ) JOIN planted USING (customer_id, cutoff, class) WHERE task = 'nba'""").fetchnumpy()["p"]
        loss.append(-np.log(answered))
        sums = con.execute("SELECT customer_id, cutoff, sum(p) FROM planted WHERE task = 'nba' GROUP BY ALL").fetchnumpy()
        np.testing.assert_allclose(sums["sum(p)"], 1, rtol=1e-9)
        constant.append(np.full(len(answered), np.log(len(OFFERS))))
    assert seen == pytest.approx(expected, rel=4 / np.sqrt(seen))
    gain = np.concatenate(constant) - np.concatenate(loss)
    assert gain.mean() / np.log(len(OFFERS)) > 0.15


def test_taste_moves_which_offer_is_answered_and_not_how_many() -> None:
    with_taste, without = (simulate_block(3, 0, Strengths(offer_taste=x)) for x in (1.25, 0.0))
    clicks = [b.tables["campaigns"]["clicked_at"].null_count / b.tables["campaigns"].num_rows for b in (with_taste, without)]
    assert clicks[0] == pytest.approx(clicks[1], abs=0.01)
    share = [
        b.tables["probabilities"].filter(pc.equal(b.tables["probabilities"]["task"], "nba"))["p"].to_numpy()
        for b in (with_taste, without)
    ]
    entropy = [-(p * np.log(p)).sum() for p in share]
    assert entropy[0] < 0.9 * entropy[1]
