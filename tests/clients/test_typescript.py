"""The npm package, packed and installed into an empty folder, is used against a running web process.

The handlers and the page of the Next.js example run in that folder too.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.conftest import CHANGES, EXAMPLES, install
from tests.clients.test_examples import environment
from tests.processes import Daemon
from tests.sandboxes import Sandbox

pytestmark = pytest.mark.system

HERE = Path(__file__).parent
PACKAGE = HERE.parents[1] / "clients" / "typescript"
# Next.js is large, and the page needs only two of its functions. These replacements are used instead.
ABSENT = ("next", "stripe-sync-client")
NEXT = {
    "package.json": '{"type": "module", "exports": {"./headers": "./headers.js", "./navigation": "./navigation.js"}}',
    "headers.js": "export const headers = async () => globalThis.requested;",
    "headers.d.ts": "export function headers(): Promise<Headers>;",
    "navigation.js": "export const redirect = (url) => { throw new Error(`redirect to ${url}`); };",
    "navigation.d.ts": "export function redirect(url: string): never;",
}
QUIET = ("--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=1")


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with only the packed package, Drizzle and a driver installed."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    source, folder = tmp_path_factory.mktemp("package") / "source", tmp_path_factory.mktemp("application")
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("node_modules", "dist"))
    shutil.copy(PACKAGE.parent / "openapi.json", source.parent)
    install(npm, "ci", *QUIET, cwd=source)
    before = (source / "src" / "api.ts").read_text()
    install(npm, "run", "types", cwd=source)
    # Not equal? `npm run types` in clients/typescript writes it again.
    assert (source / "src" / "api.ts").read_text() == before
    install(npm, "run", "build", cwd=source)
    install(npm, "pack", "--pack-destination", str(folder), cwd=source)
    (packed,) = folder.glob("*.tgz")
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    wanted = json.loads((EXAMPLES / "nextjs" / "package.json").read_text())
    versions = wanted["dependencies"] | wanted["devDependencies"]
    used = [f"{name}@{version}" for name, version in versions.items() if name not in ABSENT]
    install(npm, "install", *QUIET, str(packed), *used, cwd=folder)
    shutil.copy(HERE / "application.mjs", folder)
    (folder / "node_modules" / "next").mkdir()
    for name, content in NEXT.items():
        (folder / "node_modules" / "next" / name).write_text(content)
    return folder


def test_an_application_uses_the_npm_package(application: Path, web: Daemon, paying_user: str) -> None:
    env = {
        "PATH": os.environ["PATH"],
        "STRIPE_SYNC_URL": f"http://127.0.0.1:{web.port}",
        "STRIPE_SYNC_TOKEN": "token",
        "DATABASE_URL": web.database_url,
        "USER_ID": paying_user,
    }
    command = ["node", "application.mjs"]

    done = subprocess.run(command, cwd=application, env=env, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "access": [True, "PREMIUM", 5000, False, "active"],
        "errors": [[True, 404, "not_found"], [True, 401, "unauthorized"], [True, 0, "unavailable"]],
        "changes": CHANGES,
        "granted": [[0, 5000]],
        "later": CHANGES[1:],
        "spent": [True, False, True],
        "balance": 4990,
        "features": [True, False, True],
        "change": [7, "tokens.granted", paying_user, 10],
        "refused": [True, True],
        "table": "tokens_expires_at",
    }


@pytest.fixture
def nextjs(application: Path, tmp_path: Path) -> Path:
    """The Next.js example, type-checked and compiled for Node."""
    shutil.copytree(EXAMPLES / "nextjs", tmp_path, dirs_exist_ok=True)
    (tmp_path / "node_modules").symlink_to(application / "node_modules")
    node = ["--module", "esnext", "--noEmit", "false", "--rewriteRelativeImportExtensions", "--jsx", "react-jsx"]
    install("npx", "tsc", "--project", str(tmp_path), *node, "--noUnusedLocals", cwd=tmp_path)
    shutil.copy(HERE / "nextjs.mjs", tmp_path)
    return tmp_path


def test_the_nextjs_example_serves_a_user(nextjs: Path, web: Daemon, stripe_sandbox: Sandbox, price: str) -> None:
    env = environment(web, stripe_sandbox, price) | {
        "APP_URL": "http://127.0.0.1:3000",
        "AUTH_SECRET": "a secret of an example, long enough to sign with",
        "CHANGES_SECRET": "whsec_c2VjcmV0IG9mIGFuIGV4YW1wbGUgdGhhdCB2ZXJpZmllcw==",
        "SCHEMA": (nextjs / "schema.sql").read_text(),
    }
    command = ["node", "nextjs.mjs"]

    done = subprocess.run(command, cwd=nextjs, env=env, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout) == (0, "all of it works\n"), done.stderr
