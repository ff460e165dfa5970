"""Addresses of databases and stores, as they may be shown: without what opens them."""

import re

_USER = re.compile(r"(://[^:/?#@]*:)[^/?#]*@")
_QUERY = re.compile(r"([?&][^=&#]*(?:pass|secret|token|key)[^=&#]*=)[^&#]*", re.IGNORECASE)


def shown(url: str) -> str:
    """The URL with `***` for each password in it: behind the user's name, or among its parameters."""
    return _QUERY.sub(r"\1***", _USER.sub(r"\1***@", url))
