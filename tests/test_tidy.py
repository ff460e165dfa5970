"""Rules of the house that no linter knows. Each failure says what to rename, move or write."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = ("pruneguard", "policies", "monitors", "flows", "dashboards")
MODULES = sorted(path for name in (*OURS, "benchmarks", "examples") for path in (ROOT / name).rglob("*.py"))
SCRIPTS = [
    path for path in MODULES if path.parts[len(ROOT.parts)] in ("flows", "dashboards") and path.stem != "__init__"
]
TAKEN = sys.stdlib_module_names | set(importlib.metadata.packages_distributions())
TEXTS = {".py", ".md", ".toml", ".yaml", ".yml", ".json", ".sh", ".html", ".css"}
MADE = {"__pycache__", "var", "dist", "build", "results"}  # what tools and runs leave in a checkout


def inside(path: Path) -> str:
    return str(path.relative_to(ROOT))


def texts(folder: Path = ROOT) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.iterdir()):
        if path.name in MADE or (path.name.startswith(".") and path.name != ".ci"):
            continue
        if path.is_dir():
            yield from texts(path)
        elif path.suffix in TEXTS or path.name in ("Makefile", "run"):
            yield inside(path), path.read_text(encoding="utf-8")


def imports(path: Path) -> set[str]:
    """Top-level names that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


# -- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SCRIPTS, ids=inside)
def test_no_script_is_named_like_a_library(path: Path) -> None:
    # Streamlit and Prefect put a script's own folder first on sys.path.
    assert path.stem not in TAKEN, f"rename {inside(path)}: it would hide the library {path.stem!r}"


def test_the_wheel_ships_only_the_uniquely_named_package() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["pruneguard"]


@pytest.mark.parametrize("name", OURS[1:])
def test_no_dependency_ships_our_top_level_names(name: str) -> None:
    owners = set(importlib.metadata.packages_distributions().get(name, ())) - {"pruneguard"}
    assert not owners, f"{owners} also install a top-level {name!r}; see ADR 0001 for what to do"


def test_no_file_is_a_drawer_for_whatever_fits_nowhere() -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base"}
    assert [inside(path) for path in MODULES if path.stem in drawers] == [], "name each after what it does"


def test_every_folder_of_tests_is_a_package() -> None:
    # Two test files of one name in folders without __init__.py are one module to pytest.
    folders = {path.parent for path in (ROOT / "tests").rglob("test_*.py")}
    assert [inside(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


# -- where what is imported ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("library", "home"),
    [
        ("great_expectations", "pruneguard/evaluation/data_quality/expectations.py"),
        ("evidently", "monitors/drift.py"),
        ("prometheus_client", "monitors/exposition.py"),
    ],
)
def test_a_framework_that_may_change_under_us_is_imported_in_one_file(library: str, home: str) -> None:
    assert {inside(path) for path in MODULES if library in imports(path)} <= {home}


def test_an_auditor_needs_cryptography_and_rfc8785_and_nothing_else() -> None:
    program = (
        "import sys, sysconfig\n"
        "before = set(sys.modules)\n"
        "import pruneguard.audit, pruneguard.audit.verify, pruneguard.gates, pruneguard.ledger.fold\n"
        "import pruneguard.ledger.events, pruneguard.statistics\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=ROOT)
    foreign = set(ran.stdout.split()) - sys.stdlib_module_names - {"pruneguard"}
    assert foreign <= {
        "cryptography",
        "rfc8785",
        "cffi",
        "_cffi_backend",
        "_openssl",
    }  # the last three come with the first


# -- what is written ----------------------------------------------------------------------------------------------


def test_every_module_says_what_it_is_for() -> None:
    silent = [path for path in MODULES if (text := path.read_text()).strip() and not ast.get_docstring(ast.parse(text))]
    assert [inside(path) for path in silent] == []


def test_nothing_is_left_for_later_in_a_file() -> None:
    # What is to be done stands in the tracker, where someone looks for it.
    later = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
    assert [name for name, text in texts() if later.search(text)] == []


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    place = re.compile(r"(?<![\w.])/(wo" + r"rk|ro" + r"ot|ho" + r"me|Us" + r"ers)/")
    assert [name for name, text in texts() if place.search(text)] == []


def test_a_list_of_public_names_stands_only_where_a_module_passes_some_on() -> None:
    # Elsewhere a leading underscore says what is private, and a list beside it goes stale.
    for path in MODULES:
        if listed := re.search(r"^__all__ = (\[.*?\])", path.read_text(), re.MULTILINE | re.DOTALL):
            nodes = ast.parse(path.read_text()).body
            own = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
            assert set(ast.literal_eval(listed[1])) - own, f"{inside(path)} passes nothing on: remove __all__"


def test_whoever_catches_everything_raises_again_or_says_why_beside_it() -> None:
    for path in MODULES:
        lines = path.read_text().splitlines()
        for node in ast.walk(ast.parse("\n".join(lines))):
            if not isinstance(node, ast.ExceptHandler):
                continue
            everything = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
            again = isinstance(last := node.body[-1], ast.Raise) and last.exc is None
            reason = any("# " in line for line in lines[node.lineno - 1 : node.body[0].lineno])
            assert not everything or again or reason, f"{inside(path)}:{node.lineno} catches everything: why?"


# -- documents ----------------------------------------------------------------------------------------------------


def test_the_architecture_names_every_room_of_the_house() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    packages = [inside(path.parent) for path in (ROOT / "pruneguard").glob("*/__init__.py")]
    rooms = [*OURS, "tests", "benchmarks", "examples", "docs", *(Path(name).name for name in packages)]
    assert [room for room in rooms if f"{room}/" not in text] == [], "ARCHITECTURE.md does not say what is in these"


DECISIONS = sorted((ROOT / "docs" / "adr").glob("*.md"))


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_is_written_in_the_form_of_the_others(path: Path) -> None:
    text = path.read_text()
    assert text.startswith(f"# {int(path.name[:4])}. ")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Status", "Context", "Decision", "Consequences"]


def test_decisions_are_numbered_without_gaps() -> None:
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))


def test_make_help_has_a_line_for_every_target() -> None:
    text = (ROOT / "Makefile").read_text()
    (targets,) = re.findall(r"^\.PHONY: (.+)$", text, re.MULTILINE)
    assert re.findall(r"^([a-z]+):.*## \S", text, re.MULTILINE) == targets.split()


def test_the_changelog_has_a_place_for_what_comes_next() -> None:
    assert re.search(r"^## \[Unreleased\]$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
