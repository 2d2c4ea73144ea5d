"""The marker `video`: tests that run MediaPipe."""

from __future__ import annotations

import pytest


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("video"):
        pytest.importorskip("mediapipe", reason="the optional extra `video` is not installed: make video")
        from sign_models.video.models import BUNDLES, cache_folder

        if missing := [name for name in BUNDLES if not (cache_folder() / name).is_file()]:
            pytest.skip(f"{', '.join(missing)} not in the cache folder: make video")
