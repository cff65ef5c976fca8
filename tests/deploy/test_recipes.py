"""The recipes in deploy/, the Dockerfile and compose.yaml pass their linters, if installed."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.release.conftest import blocks_of_the_extra

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "deploy" / "systemd").iterdir())


def _program(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    path = str(beside) if beside.exists() else shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed; .ci/run installs it")
    return path


def _run(*words: str, cwd: Path = ROOT) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_dockerfile_has_no_lint() -> None:
    assert _run(_program("hadolint"), "Dockerfile") == ""


def test_the_image_has_the_locked_packages_of_the_extra_otel() -> None:
    assert (ROOT / "requirements-otel.txt").read_text() == "".join(sorted(blocks_of_the_extra("otel")))
    assert "--requirement requirements-otel.txt" in (ROOT / "Dockerfile").read_text()


def test_compose_follows_its_specification() -> None:
    _run(_program("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", "compose.yaml")


def test_compose_publishes_the_webhook_endpoint_and_the_console_on_loopback_only() -> None:
    services = dict(re.findall(r"^  (\w+):\n((?: {4}.*\n)+)", (ROOT / "compose.yaml").read_text(), re.MULTILINE))

    ports = {name: re.findall(r"ports: (.*)", text) for name, text in services.items() if "ports:" in text}
    assert ports == {
        "web": ['["127.0.0.1:${PORT:-8000}:8000"]'],
        "console": ['["127.0.0.1:${CONSOLE_PORT:-8001}:8000"]'],
    }
    assert "command: [console, serve]" in services["console"]
    assert [name for name, text in services.items() if "CONSOLE_PASSWORD" in text] == ["console"]


def test_the_kubernetes_base_builds_and_is_valid(tmp_path: Path) -> None:
    kubectl, validate = _program("kubectl"), _program("kubernetes-validate")
    built = tmp_path / "built.yaml"
    built.write_text(_run(kubectl, "kustomize", "deploy/kubernetes"))

    _run(validate, "--strict", str(built))


def test_kubernetes_runs_this_release() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert f"newTag: {version}}}" in (ROOT / "deploy" / "kubernetes" / "kustomization.yaml").read_text()


def test_the_autoscaler_is_valid() -> None:
    _run(_program("kubernetes-validate"), "--strict", "deploy/kubernetes/autoscale.yaml")


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    analyze = _program("systemd-analyze")
    for unit in UNITS:
        # The unit's program is not installed here. Verify the rest.
        text = unit.read_text().replace("/opt/stripe-sync/bin/stripe-sync", "/bin/true")
        (tmp_path / unit.name).write_text(text)

    done = subprocess.run(
        [analyze, "verify", "--man=no", *(str(tmp_path / unit.name) for unit in UNITS)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    complaints = [line for line in (done.stdout + done.stderr).splitlines() if "stripe-sync" in line]
    assert complaints == []


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit.suffix == ".service"], ids=lambda unit: unit.name)
def test_a_unit_is_hardened(unit: Path) -> None:
    analyze = _program("systemd-analyze")

    _run(analyze, "security", "--offline=true", "--threshold=20", str(unit))


def test_every_process_of_the_procfile_has_a_recipe() -> None:
    lines = (ROOT / "Procfile").read_text().splitlines()
    commands = {
        name: command.removeprefix(" stripe-sync ") for name, _, command in (line.partition(":") for line in lines)
    }

    systemd = "".join(unit.read_text() for unit in UNITS)
    kubernetes = "".join(path.read_text() for path in (ROOT / "deploy" / "kubernetes").iterdir())
    compose = (ROOT / "compose.yaml").read_text()

    for command in commands.values():
        words = ", ".join(command.split())
        assert f"bin/stripe-sync {command}\n" in systemd
        assert f"args: [{words}]" in kubernetes
        assert f"command: [{words}]" in compose
