"""Forward passes for the analysis: cached experts, interventions, attributions and scores, which all questions share."""
