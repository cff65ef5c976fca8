"""The Grafana dashboard equals the rendered one, and Prometheus can parse it. Alerts have runbooks."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import dashboard

ROOT = Path(__file__).parents[2]


def test_the_dashboard_is_current() -> None:
    assert dashboard.PAGE.read_text() == dashboard.render(), "run `python -m tests.dashboard`"


def test_prometheus_parses_each_expression_of_the_dashboard(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus); .ci/run installs it")
    targets = [target for panel in json.loads(dashboard.render())["panels"] for target in panel.get("targets", ())]
    rules = [
        {"record": f"panel:{number}", "expr": target["expr"].replace("$__rate_interval", "1m")}
        for number, target in enumerate(targets)
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))

    done = subprocess.run(
        [promtool, "check", "rules", str(file)], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_a_runbook() -> None:
    links = re.findall(
        r"alert: (\w+)(?:.|\n)*?runbook: docs/runbooks\.md#(\w+)", (ROOT / "deploy/alerts.yaml").read_text()
    )
    sections = re.findall(r"^## (\w+)$", (ROOT / "docs" / "runbooks.md").read_text(), re.MULTILINE)

    assert [alert for alert, _ in links] == sections
    assert [link for _, link in links] == [section.lower() for section in sections]
