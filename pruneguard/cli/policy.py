"""`pruneguard policy`: policies written, read, compared and tried before anybody signs one."""

import argparse
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pruneguard.cli.arguments import Commands, command, service, settings, show, with_json
from pruneguard.errors import InvalidInputError

WIDTH = 112
SHIPPED_OR_PATH = "a shipped name, or the path of a YAML file"


def add(commands: Commands) -> None:
    policy = commands.add_parser("policy", help="policies: check, compare, explain and try them before they are signed")
    kinds = policy.add_subparsers(title="commands", metavar="COMMAND", required=True)

    check = with_json(
        command(
            kinds,
            "check",
            _check,
            "Every objection to a policy, with its line and what to do.\n\n"
            "Also what no model can pass: rules that exclude each other and, with the manifest of a run, rules about\n"
            "what is never measured of its rows and network, margins and slices that its rows cannot show.\n"
            "Ends with 1 where there is an objection; a doubt is none.",
        )
    )
    check.add_argument("policy", metavar="FILE", help=SHIPPED_OR_PATH)
    check.add_argument("--manifest", type=Path, metavar="FILE", help="whose data the policy is for; they are loaded")

    diff = with_json(
        command(
            kinds,
            "diff",
            _diff,
            "What changes from policy A to policy B, rule by rule: laxer, stricter, new, gone, changed.\n\n"
            "Ends with 1 where B may let pass what A refuses: something is laxer, gone, or judged otherwise.",
        )
    )
    for name in ("a", "b"):
        diff.add_argument(name, metavar=name.upper(), help=SHIPPED_OR_PATH)

    explain = with_json(
        command(
            kinds,
            "explain",
            _explain,
            "What a pass of each rule proves, how often it is wrong, and the rows it takes.\n\n"
            "Without a policy: the gates and the measurements that a rule can name.",
        )
    )
    explain.add_argument("policy", metavar="FILE", nargs="?", help=SHIPPED_OR_PATH)

    tried = with_json(
        command(
            kinds,
            "try",
            _try,
            "What a policy would have decided: every verdict in the ledger, judged again from its evidence.\n\n"
            "Nothing is recorded. A rule about what was not measured then says nothing, and is named.",
        )
    )
    tried.add_argument("policy", metavar="FILE", help=SHIPPED_OR_PATH)
    tried.add_argument("--model", help="only the verdicts on this one")

    command(
        kinds,
        "schema",
        _schema,
        "Print the JSON Schema of a policy, with which editors complete and check while you write.\n\n"
        "  pruneguard policy schema > policy.schema.json\n"
        "  # yaml-language-server: $schema=policy.schema.json      the first line of your policy",
    )


def _check(args: argparse.Namespace) -> int:
    draft = service("policies.document").read_policy(args.policy)
    found, doubts = list(service("policies.checking").objections(draft)), []
    if args.manifest is not None and draft.policy is not None:
        sizing = service("policies.sizing")
        workload, snapshot = sizing.brought(args.manifest, settings().data_dir)
        missing = sizing.unmeasured(draft.policy, workload, snapshot)
        found += sizing.objections(draft, snapshot, missing)
        doubts += sizing.doubts(draft.policy, snapshot, missing)
    if args.json:
        digest = draft.policy.digest if draft.policy is not None else None
        show({"policy": args.policy, "digest": digest, "objections": found, "doubts": doubts})
        return 1 if found else 0
    for line in found:
        print(line)
    for line in doubts:
        print(f"doubt: {line}")
    if found:
        print(f"{len(found)} {'objection' if len(found) == 1 else 'objections'}")
        return 1
    policy = draft.policy
    print(f"{policy.name} {policy.version}: {len(policy.rules)} rules, no objection; {policy.digest}")
    return 0


def _diff(args: argparse.Namespace) -> int:
    load = service("policies.document").load_policy
    comparing = service("policies.comparing")
    old, new = load(args.a), load(args.b)
    found = comparing.differences(old, new)
    laxer = any(difference.lets_more_pass for difference in found)
    if args.json:
        sides = [{"name": side.name, "version": side.version, "digest": side.digest} for side in (old, new)]
        changes = [difference.to_document() for difference in found]
        show({"a": sides[0], "b": sides[1], "may_let_more_pass": laxer, "differences": changes})
        return 1 if laxer else 0
    print(f"{old.name} {old.version} -> {new.name} {new.version}: {comparing.summary(found)}")
    for difference in found:
        print(_wrapped(f"{difference.change:<9}{difference.name}: {difference.detail}", start=2, hang=11))
    return 1 if laxer else 0


def _explain(args: argparse.Namespace) -> int:
    explaining = service("policies.explaining")
    if args.policy is None:
        known = {"gates": explaining.gates(), "measurements": explaining.measurements()}
        if args.json:
            show(known)
        else:
            for line in _catalogue(known):
                print(line)
        return 0
    policy = service("policies.document").load_policy(args.policy)
    told = [explaining.explained(rule) for rule in policy.rules]
    if args.json:
        rules = [each.to_document() for each in told]
        show({"policy": policy.name, "version": policy.version, "terms": explaining.terms(policy), "rules": rules})
        return 0
    print(f"{policy.name} {policy.version}")
    for line in explaining.terms(policy):
        print(_wrapped(line, start=2, hang=2))
    for each in told:
        print(f"\n{each.name}")
        for label, text in (
            ("judges", each.judges),
            ("proves", each.proves),
            ("errs", each.errs),
            ("rows", each.rows),
            ("because", each.because),
        ):
            print(_wrapped(f"{label:<9}{text}", start=2, hang=11))
    return 0


def _catalogue(known: dict[str, Any]) -> Iterator[str]:
    yield "gates:"
    for gate in known["gates"]:
        yield _wrapped(f"{gate['gate']}, on {gate['judges']}: {gate['doc']}", start=2, hang=4)
        for parameter in gate["parameters"]:
            default = "" if parameter["default"] is None else f" (default {parameter['default']:g})"
            yield _wrapped(
                f"{parameter['name']}: {parameter['doc']}; {parameter['expected']}{default}", start=6, hang=8
            )
    yield "measurements:"
    for measurement in known["measurements"]:
        yield _wrapped(f"{measurement['measurement']} ({measurement['is']}): {measurement['doc']}", start=2, hang=4)


def _try(args: argparse.Namespace) -> int:
    from pruneguard import home

    policy = service("policies.document").load_policy(args.policy)
    rejudging = service("policies.rejudging")
    known = settings()
    state = home.read_ledger(known).state()
    if args.model is not None and args.model not in state.models:
        raise InvalidInputError(f"no model {args.model!r}; known are {sorted(state.models) or 'none yet'}")
    models = [model for name, model in state.models.items() if args.model in (None, name)]
    trials = rejudging.retried(policy, models, home.artifacts(known).get)
    silent = rejudging.without_evidence(policy, trials)
    if args.json:
        show({"policy": policy.digest, "trials": [t.to_document() for t in trials], "without_evidence": silent})
        return 0
    changed, open_ = [t for t in trials if t.changed], [t for t in trials if t.fate is rejudging.Fate.OPEN]
    print(
        f"{policy.name} {policy.version} on {len(trials)} verdicts: {len(changed)} decided otherwise, "
        f"{len(open_)} cannot be told, {len(trials) - len(changed) - len(open_)} as before"
    )
    for trial in (*changed, *open_):
        for line in _trial(trial, state.policies[trial.given.policy], silent):
            print(line)
    if silent:
        print(_wrapped(f"not measured in any of them: {', '.join(silent)}", start=2, hang=4))
    return 0


def _trial(trial: Any, judged_by: Any, silent: list[str]) -> Iterator[str]:
    given = trial.given
    before = "passed" if given.passed else "failed"
    yield (
        f"  {trial.model} {given.candidate[:19]} ({given.run}, {given.split}): {before} under {judged_by.name} "
        f"{judged_by.version}, {trial.fate}"
    )
    if trial.gone:
        yield _wrapped(trial.gone, start=6, hang=8)
    for rule in trial.refused_by:
        yield _wrapped(f"{trial.outcomes[rule]}: {rule}", start=6, hang=8)
    if trial.fate == "passes" and given.objections:
        yield _wrapped(f"objected to before: {', '.join(given.objections)}", start=6, hang=8)
    if trial.fate == "cannot be told" and (own := [rule for rule in trial.unmeasured if rule not in silent]):
        yield _wrapped(f"not measured: {', '.join(own)}", start=6, hang=8)


def _schema(_: argparse.Namespace) -> int:
    show(service("policies.schema").schema())
    return 0


def _wrapped(text: str, *, start: int, hang: int) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=" " * start, subsequent_indent=" " * hang)
