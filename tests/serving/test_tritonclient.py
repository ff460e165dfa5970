"""The real `tritonclient[http]`, in an environment of its own: it would downgrade packages that we share."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pruneguard.serving.server import Server
from tests.serving.scene import Scene, gateway

CLIENT = "tritonclient[http]==2.73.0"
LOGITS = [[2, 10, -10], [2, 26, -26]]


@pytest.fixture(scope="module")
def python(pytestconfig):
    """A Python that has the client; kept in pytest's cache, so that only the first run fetches it."""
    home = pytestconfig.cache.mkdir("tritonclient-2.73.0")
    python, ready = home / "bin" / "python", home / "ready"
    if not ready.exists():
        if uv := shutil.which("uv"):
            commands = [[uv, "venv", "--clear", home], [uv, "pip", "install", "--python", python, CLIENT]]
        else:
            commands = [[sys.executable, "-m", "venv", "--clear", home], [python, "-m", "pip", "install", CLIENT]]
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"{CLIENT} could not be installed, so the real client was not tried: {done.stderr[-300:]}")
        ready.touch()
    return python


@pytest.mark.slow
def test_the_real_triton_client_gets_answers_and_errors(python, tmp_path):
    scene = Scene(tmp_path)
    scene.release()
    scene.release()
    with Server(gateway(scene).app, host="127.0.0.1", port=0) as server:
        child = Path(__file__).with_name("tritonclient_child.py")
        command = [python, child, f"127.0.0.1:{server.port}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)

    assert [found[name] for name in ("live", "ready", "model_ready", "version_ready")] == [True] * 4
    assert found["unknown_ready"] is False
    assert found["server"]["name"] == "pruneguard"
    assert found["model"]["versions"] == ["1", "2"]
    assert [(row["version"], row["state"]) for row in found["index"]] == [("2", "READY"), ("1", "READY")]
    assert found["four"] == [["2", "a-1", LOGITS]] * 4
    assert found["gzip"] == found["deflate"] == found["four"][0]
    assert found["old"] == ["1", "a-1", [[1, 10, -10], [1, 26, -26]]]

    assert found["no_version"] == ["404", "version '9' is not served; 'digits' serves 2 (live), 1 (fallback)"]
    assert found["no_model"] == ["404", "no model 'letters' is served here; there are ['digits']"]
    assert found["datatype"] == ["400", "input 'input': datatype 'FP64'; expected FP32"]
    assert found["shape"][0] == "400"
    assert "shape [2, 3]; expected [-1, 4]" in found["shape"][1]
    assert "element 0 is nan" in found["nan"][1]
