"""A witness remembers the newest checkpoint of each log it knows and cosigns only what continues it: C2SP tlog-witness.

Somebody else than the log's operator runs it, on another machine: `protocol` decides, `state` remembers, `server`
answers, `keys` signs. It needs this wheel and nothing of the service. What the log's side does is in `client` (ask one
witness), `cosigned` (keep what they signed) and `pushing` (ask all of them, now and then).
"""
