"""Run the tests closest to Postgres on each version that can be installed here: `./run matrix`."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from worker.dev import installs

FOLDERS = (
    "tests/schema",
    "tests/postgres",
    "tests/membership",
    "tests/on_access",
    "tests/privacy",
    "tests/writers",
    "tests/web",
    "tests/system/test_plans.py",
)


def main() -> int:
    """Run the tests for each version. Return 1 if a version failed, or if a requested version is missing."""
    parser = argparse.ArgumentParser(prog="./run matrix", description=__doc__)
    parser.add_argument("--postgres", action="append", metavar="VERSION", help="run only this version; may be repeated")
    parser.add_argument("rest", nargs="*", help="for pytest: folders or options, after --")
    asked = parser.parse_args()
    results = {version: _run(version, asked.rest) for version in asked.postgres or installs.VERSIONS}
    sys.stdout.write("\n" + "".join(f"PostgreSQL {version:<4} {result}\n" for version, result in results.items()))
    is_one_missing = any(result.startswith("not available") for result in results.values())
    return int("failed" in results.values() or (is_one_missing and bool(asked.postgres)))


def _run(version: str, arguments: list[str]) -> str:
    try:
        binaries = installs.find(version).binaries
    except installs.ServerError as error:
        return f"not available here: {error}"
    version_line = subprocess.run([str(binaries / "postgres"), "--version"], capture_output=True, text=True, check=True)
    sys.stdout.write(f"\n== {version_line.stdout}")
    sys.stdout.flush()
    folders = [] if any(Path(argument).exists() for argument in arguments) else FOLDERS
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *folders, *arguments],
        env=os.environ | {"TEST_BACKEND": "embedded", "TEST_POSTGRES": version},
        check=False,
    )
    return "passed" if done.returncode == 0 else "failed"


if __name__ == "__main__":
    sys.exit(main())
