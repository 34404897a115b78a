"""What a campaign changes: labels of uplift from who was shown one and who was not.

One customer is never seen both ways. The label is the transformed outcome, `y / e` of a treated row and `-y / (1 - e)` of a
control, with e the share of treated rows: where chance decides who is treated, its mean over any rows is the effect on them
(Athey & Imbens 2015, "Machine learning methods for estimating heterogeneous causal effects"), so a regression on it predicts
the effect. Treated: shown a campaign in the `$treatment_days` from the cut-off on. Both groups are customers whom campaigns
reached in the 84 days before (`record.SHOWN_84`): those who never see any are no controls. Where campaigns are aimed, the label
holds what they were aimed by, too.
"""

from __future__ import annotations

from ple_model.tasks.record import SHOWN_84


def transformed(outcome: str, *, wide: bool = False) -> str:
    """SQL of a label from that of `row_id, outcome` (a number by row, `wide`: a list of numbers). No label at a cut-off where
    nobody was treated, or everybody, or that the source does not cover for `$response_days`."""
    label = "[y * w FOR y IN outcome]" if wide else "outcome * w"
    return f"""
        WITH reached AS (
            SELECT s.row_id, s.cutoff_index, s.covered, bool_or(c.exposed_at >= s.cutoff) AS treated
            FROM label_spine s JOIN campaigns c ON c.customer_id = s.customer_id
             AND c.exposed_at >= s.cutoff - {SHOWN_84.shown_days} AND c.exposed_at < s.cutoff + $treatment_days
            GROUP BY ALL HAVING bool_or(c.exposed_at < s.cutoff)
        ), weighted AS (
            SELECT row_id, CASE WHEN treated THEN 1 / e ELSE -1 / (1 - e) END AS w FROM (
                SELECT *, avg(treated::INT) OVER (PARTITION BY cutoff_index) AS e FROM reached
            ) WHERE covered >= $response_days AND e > 0 AND e < 1
        )
        SELECT row_id, {label} AS label FROM weighted JOIN ({outcome}) USING (row_id)"""
