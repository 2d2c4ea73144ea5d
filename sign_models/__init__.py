"""Sign-language keypoints to text in trained, registered stages: skeleton, temporal, alignment.

    import sign_models as sm

    translator = sm.load("models:/sign-translator@champion")
    for segment in translator.translate("clip.pose"):
        print(segment.start, segment.end, segment.text, segment.confidence)

`read` gives the clips of a file, `train` runs the pipeline. Everything else may change between versions.
"""

from importlib import import_module

__version__ = "0.2.0"
__all__ = ["Segment", "Translator", "load", "read", "train"]


def __getattr__(name: str) -> object:
    """The public names, imported when they are first used: the package itself loads at once.

    By name, since tracking.sources counts every import statement here as a dependency of every stage. The types are in
    __init__.pyi.
    """
    if name in __all__:
        return getattr(import_module("sign_models.pipeline.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
