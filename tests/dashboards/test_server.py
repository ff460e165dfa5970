import os
import socket
import subprocess
import sys

import httpx
import pytest

from dashboards.server import main
from pruneguard.errors import UnavailableError
from pruneguard.settings import Settings
from tests.dashboards.served import dashboard


def test_a_port_in_use_is_one_clear_error(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--host", "127.0.0.1", "--port", str(port)]) == UnavailableError.exit_code
    said = capsys.readouterr().err
    assert f"port {port} on 127.0.0.1 is taken" in said
    assert "PRUNEGUARD_DASHBOARD_PORT" in said


def test_a_misspelt_setting_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PRUNEGUARD_DASHBORD_PORT", "1")
    assert main([]) == 2
    assert "PRUNEGUARD_DASHBORD_PORT" in capsys.readouterr().err


def test_the_process_answers_with_health_and_tight_headers(empty: Settings) -> None:
    with dashboard(empty) as address:
        answer = httpx.get(f"{address}/healthz", timeout=60)
        assert answer.json() == {"status": "ok"}
        page = httpx.get(address, timeout=60)
    assert page.status_code == 200
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]


def test_importing_the_server_starts_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", "import dashboards.server"], capture_output=True, check=True)
    assert not done.stdout


def test_the_process_ends_when_its_parent_lets_go(empty: Settings) -> None:
    command = [sys.executable, "-m", "dashboards.server", "--port", "0", "--until-eof"]
    environ = os.environ | empty.environ
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environ, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.stdin.close()
        assert process.wait(30) == 0
