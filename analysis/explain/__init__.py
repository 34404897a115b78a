"""Why this, for this customer: reasons, their test of themselves, counterfactuals, edits."""
