"""Doctests are looked for here too, but not in what runs in other people's environments."""

collect_ignore_glob = ["*_child.py"]
