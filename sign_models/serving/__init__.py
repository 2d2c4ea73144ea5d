"""A trained model as it answers: keypoint sequences in, text out. Knows torch and transformers lazily."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sign_models.serving.predictor import Predictor


def load(folder: Path) -> Predictor:
    """The model in `folder`, ready to answer keypoint sequences."""
    from sign_models.models.storage import load as load_model
    from sign_models.serving.predictor import Predictor

    return Predictor(load_model(folder))
