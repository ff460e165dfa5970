"""The gates on trial with real artefacts: networks made bad on purpose, and good ones, judged as a run judges them.

What a rule does with bad evidence is tried in `pruneguard.gates.selftest`, without any network. Here the evidence is
measured: so a fault that no measurement sees, or no rule asks about, comes out as a candidate that passed.
"""
