"""Write `feature_schema.yaml` from the declarations: `python -m ple_model.data.features`."""

from ple_model.data.features.declared import write

write()
