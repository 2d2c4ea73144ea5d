"""Sign-language keypoints to text in trained, registered stages: skeleton, temporal, alignment.

    import sign_models as sm

    translator = sm.load("models:/sign-translator@champion")
    for segment in translator.translate("clip.pose"):
        print(segment.start, segment.end, segment.text, segment.confidence)

`read` gives the clips of a file. Everything else may change between versions.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sign_models.pipeline.api import Segment, Translator, load, read

__version__ = "0.2.0"
__all__ = ["Segment", "Translator", "load", "read"]


def __getattr__(name: str) -> object:
    """The public names, imported when they are first used: the package itself loads at once."""
    if name in __all__:
        from sign_models.pipeline import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
