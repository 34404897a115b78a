"""Search for settings (`ple tune`): `space` what may vary, `finder` a rate, `search` the study, `record` its folder."""
