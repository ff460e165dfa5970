"""Errors are sorted by who must act; the command line turns them into exit codes."""

import inspect
import re

import pytest

from pruneguard import errors

TREE = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)]


def test_the_tree_drawn_in_the_docstring_is_the_tree_of_classes() -> None:
    drawn = re.findall(r"^( *)(\w+Error)\b(?:.*exit code (\d))?", errors.__doc__, re.MULTILINE)
    parents: list[str] = []
    found = set()
    for indent, name, code in drawn:
        del parents[len(indent) // 2 :]
        found.add((name, parents[-1] if parents else "Exception", int(code or 1)))
        parents.append(name)
    assert found == {(kind.__name__, kind.__base__.__name__, kind.exit_code) for kind in TREE}


def test_each_kind_of_error_has_an_exit_code_of_its_own() -> None:
    codes = [kind.exit_code for kind in TREE]
    assert len(set(codes)) == len(codes)
    assert 0 not in codes


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_every_error_can_be_caught_as_ours_and_keeps_its_message(kind: type[errors.PruneGuardError]) -> None:
    with pytest.raises(errors.PruneGuardError, match="found, expected, next"):
        raise kind("found, expected, next")
