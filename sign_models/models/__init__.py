"""The three trained models, what they are built of, and how they lie on disk. Knows torch and transformers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sign_models.models.predictor import Predictor


def load(folder: Path) -> Predictor:
    """The model in `folder`, ready to answer keypoint sequences."""
    from sign_models.models.predictor import Predictor
    from sign_models.models.storage import load as load_model

    return Predictor(load_model(folder))
