"""A trained model that answers: keypoint sequences in, text out. torch and transformers are imported on use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sign_models.serving.predictor import Predictor


def load(folder: Path) -> Predictor:
    """Load a model to answer with.

    Args:
        folder: With what models.storage.save wrote.

    Returns:
        The predictor.

    Raises:
        UpstreamError: The folder holds no model of this version of the package.
        ResourceError: There is not enough memory for it.
    """
    from sign_models.models.storage import load as load_model
    from sign_models.serving.predictor import Predictor

    return Predictor(load_model(folder))
