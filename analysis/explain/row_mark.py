"""The mark of one customer's row: what a report names so that it can be checked later on which values it rests."""

from __future__ import annotations

import hashlib
from dataclasses import fields

import torch

from ple_model.batch import PLEClusterInput


def row_digest(inputs: PLEClusterInput) -> str:
    """sha256 over everything that the model reads of one customer: another customer's, or another day's, is another one."""
    digest = hashlib.sha256()
    for f in fields(inputs):
        value = getattr(inputs, f.name)
        if isinstance(value, torch.Tensor):
            own = value.detach().cpu().contiguous()
            digest.update(f"{f.name} {own.dtype} {tuple(own.shape)} ".encode())
            digest.update(own.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
