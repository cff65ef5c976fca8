"""`./run` makes an environment once, and then reuses it.

The tests call it in a separate project. Python there only records its arguments, and pip succeeds or fails as scripted.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_RUN = Path(__file__).parent.parent.parent / "run"

# `-c` runs the real Python, because `run` uses it to read the version and to take the lock.
_PYTHON = f"""\
#!/bin/sh
if [ "$1" = -c ]; then exec {sys.executable} "$@"; fi
if [ "$1" = -V ]; then cat "$SCRIPT/version"; exit; fi
echo "${{0##*/}} $*" >> "$SCRIPT/calls"
case "$*" in
*"pip --version"*) exit 0 ;;
*ensurepip* | "-m venv "*) [ ! -e "$SCRIPT/no-ensurepip" ] || exit 1 ;;
*"pip install"*--requirement*) [ ! -e "$SCRIPT/no-network" ] || exit 1 ;;
esac
case "$*" in
"-m venv "* | "-m virtualenv "*)
    for venv; do :; done
    mkdir -p "$venv/bin"
    : > "$venv/pyvenv.cfg"
    cp "$0" "$venv/bin/python"
    printf '#!/bin/sh\\necho "stripe-sync $*"\\n' > "$venv/bin/stripe-sync"
    chmod +x "$venv/bin/stripe-sync"
    ;;
esac
"""


class Project:
    """A project folder with the script `run`, and a fake Python that records its arguments."""

    def __init__(self, root: Path) -> None:
        self.path, self.script = root / "a project", root / "script"
        tools = root / "bin"
        for folder in (self.path, self.script, tools):
            folder.mkdir()
        shutil.copy(_RUN, self.path)
        (self.path / "requirements-dev.txt").write_text("one==1")
        (self.path / "pyproject.toml").write_text("[project]")
        (self.script / "version").write_text("Python 3.12.1\n")
        python = tools / "python3"
        python.write_text(_PYTHON)
        python.chmod(0o755)
        self.env = {"PATH": f"{tools}:/usr/bin:/bin", "SCRIPT": str(self.script), "HOME": str(root)}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["sh", str(self.path / "run"), *arguments]
        return subprocess.run(command, env=self.env, cwd="/", capture_output=True, text=True, check=False)

    def calls(self) -> list[str]:
        """Return the arguments of each call of Python since this method was last called."""
        calls = self.script / "calls"
        words = calls.read_text().splitlines() if calls.exists() else []
        calls.unlink(missing_ok=True)
        return words


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def made(calls: list[str]) -> int:
    return sum(call.startswith(("python3 -m venv", "python3 -m virtualenv")) for call in calls)


def installed(calls: list[str]) -> int:
    return sum("--require-hashes --no-deps --requirement requirements-dev.txt" in call for call in calls)


def test_the_script_is_plain_sh() -> None:
    assert subprocess.run(["sh", "-n", str(_RUN)], check=False).returncode == 0
    assert os.access(_RUN, os.X_OK)


def test_the_first_start_installs_the_locked_packages_and_the_project_and_runs_the_command(
    project: Project,
) -> None:
    done = project.run("cli", "events", "list; of two")

    calls = project.calls()
    assert done.stdout == "stripe-sync events list; of two\n"
    assert (made(calls), installed(calls)) == (1, 1)
    assert calls[-1].endswith("--no-deps --no-build-isolation --editable .")


def test_the_second_start_only_runs_the_command(project: Project) -> None:
    project.run("cli")
    project.calls()

    done = project.run("cli", "status")

    assert done.stdout == "stripe-sync status\n"
    assert done.stderr == ""
    assert project.calls() == []


def test_changed_locked_packages_are_installed_into_the_existing_environment(project: Project) -> None:
    project.run("cli")
    project.calls()
    (project.path / "requirements-dev.txt").write_text("one==2")

    project.run("cli")

    calls = project.calls()
    assert (made(calls), installed(calls)) == (0, 1)


def test_an_interrupted_start_starts_over(project: Project) -> None:
    (project.script / "no-network").touch()
    failed = project.run("cli")
    project.calls()
    (project.script / "no-network").unlink()

    done = project.run("cli")

    calls = project.calls()
    assert failed.returncode != 0
    assert "could not be installed" in failed.stderr
    assert done.returncode == 0
    assert (made(calls), installed(calls)) == (1, 1)


@pytest.mark.parametrize("change", ["another python", "another place"])
def test_another_python_or_location_creates_a_new_environment(project: Project, change: str) -> None:
    project.run("cli")
    project.calls()
    if change == "another python":
        (project.script / "version").write_text("Python 3.13.0\n")
    else:
        project.path = project.path.rename(project.path.with_name("moved"))

    done = project.run("cli")

    assert done.returncode == 0
    assert made(project.calls()) == 1


def test_without_ensurepip_virtualenv_is_fetched_into_the_project(project: Project) -> None:
    (project.script / "no-ensurepip").touch()

    done = project.run("cli")

    calls = project.calls()
    assert done.returncode == 0
    assert any("pip install" in call and "--target .tools virtualenv" in call for call in calls)
    assert "python3 -m virtualenv --quiet --app-data .tools/app-data .venv" in calls


def test_a_folder_that_is_not_an_environment_is_not_changed(project: Project) -> None:
    precious = project.path / "documents" / "letter"
    precious.parent.mkdir()
    precious.write_text("dear")
    project.env["STRIPE_SYNC_VENV"] = "documents"

    done = project.run("cli")

    assert done.returncode != 0
    assert "STRIPE_SYNC_VENV" in done.stderr
    assert precious.read_text() == "dear"


def test_two_concurrent_starts_create_one_environment(project: Project) -> None:
    command = ["sh", str(project.path / "run"), "cli"]

    both = [subprocess.Popen(command, env=project.env, stderr=subprocess.PIPE, stdout=subprocess.PIPE) for _ in "ab"]

    assert [one.communicate()[0] for one in both] == [b"stripe-sync \n"] * 2
    assert made(project.calls()) == 1


def test_without_a_suitable_python_it_names_the_versions(project: Project) -> None:
    (project.path.parent / "bin" / "python3").write_text("#!/bin/sh\nexit 1\n")
    # PATH has only the programs that the first lines of `run` use.
    tools = project.path.parent / "tools"
    tools.mkdir()
    for name in ("sh", "dirname", "mkdir", "cat", "cksum", "sed"):
        program = shutil.which(name)
        assert program is not None
        (tools / name).symlink_to(program)
    project.env["PATH"] = f"{project.path.parent / 'bin'}:{tools}"

    done = project.run("cli")

    assert done.returncode != 0
    assert "no Python 3.11 to 3.14" in done.stderr


def test_help_and_an_unknown_command_need_no_environment(project: Project) -> None:
    assert project.run().returncode == 0
    assert project.run("nonsense").returncode == 2
    assert project.calls() == []
