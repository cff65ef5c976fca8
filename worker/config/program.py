"""Replace this process with another of our modules, to free the memory that was needed only at the start."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path


def become(module: str, *words: str, environment: Mapping[str, str] | None = None) -> None:
    """Run `python -m module words` in place of this process, with these variables added; does not return."""
    # The new process imports the packages of this installation, and none from the working directory.
    path = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(  # noqa: S606
        sys.executable,
        [sys.executable, "-P", "-m", module, *words],
        os.environ | {"PYTHONPATH": os.pathsep.join(path)} | dict(environment or {}),
    )
