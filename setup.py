"""What pyproject.toml cannot say: a built package carries the folder params/ as data of sign_models.params."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithParams(build_py):
    """Copies params/ into the package; an editable install reads the folder itself."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "sign_models", "params", "files")
            shutil.copytree(Path(__file__).parent / "params", target, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithParams})
