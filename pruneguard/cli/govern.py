"""Commands of people who answer for something: init, keys, approve, waive, propose."""

import argparse
from datetime import UTC, date, datetime, time, timedelta

from pruneguard.cli import keys
from pruneguard.cli.arguments import Commands, command, service, settings, signer, with_key
from pruneguard.errors import InvalidInputError


def add(commands: Commands) -> None:
    init = command(
        commands,
        "init",
        _init,
        "Open a new ledger.\n\nThe admin named here registers everybody else's keys and can approve nothing.",
    )
    init.add_argument("--admin", default="root", help="who administers it (default: %(default)s)")
    init.add_argument("--origin", help="the ledger's name in every checkpoint (default: this host's name/pruneguard)")
    init.add_argument(
        "--team",
        action="store_true",
        help="also make and register keys for ada (engineer), grace (approver) and otto (operator), to try things out",
    )

    keys.add(commands)

    approve = command(
        commands,
        "approve",
        _approve,
        "Sign a proposed release, or adopt a policy, with your own key.\n\n"
        "  pruneguard approve digits 2 --reason 'reviewed the findings'\n"
        "  pruneguard approve --policy standard",
    )
    approve.add_argument("model", nargs="?")
    approve.add_argument("number", nargs="?", type=int, help="the release's number (`pruneguard status` lists them)")
    approve.add_argument("--reason", default="", help="why; it stands in the audit trail")
    approve.add_argument("--policy", metavar="NAME_OR_FILE", help="adopt this policy instead of a release")
    with_key(approve, "grace")

    waive = command(
        commands,
        "waive",
        _waive,
        "Take on one failed rule of one candidate until a date, in your own name.\n\n"
        "  pruneguard waive digits efficiency.latency_ratio --until 30d \\\n"
        "      --reason 'the new host is slower' --control 'a person looks at every answer above 50 ms'\n\n"
        "The rule stays failed and is shown as failed, waived. Only what was measured can be waived, only by an\n"
        "approver who did not make the candidate, for 90 days at most; somebody else has to extend it. When it\n"
        "lapses while the release takes traffic, an alarm is raised, it goes no further, and what the policy's\n"
        "on_lapse says is done.\n"
        "With every failed rule waived, an engineer proposes the candidate: pruneguard propose MODEL.",
    )
    waive.add_argument("model")
    waive.add_argument("rule", help="its name in the policy (`pruneguard status` lists what failed)")
    waive.add_argument(
        "--until", required=True, metavar="DAYS_OR_DATE", help="30d, or a day in UTC at whose start it ends"
    )
    waive.add_argument("--reason", required=True, help="why; it stands in the audit trail")
    waive.add_argument("--control", required=True, help="what is done instead of passing")
    waive.add_argument("--candidate", metavar="DIGEST", help="which one (default: the newest that failed the rule)")
    with_key(waive, "grace")

    propose = command(
        commands,
        "propose",
        _propose,
        "Put the newest finally judged candidate forward that passed, or whose every failed rule is waived.\n\n"
        "A run proposes what passes by itself; this is for what was waived afterwards.",
    )
    propose.add_argument("model")
    with_key(propose, "ada")


def _init(args: argparse.Namespace) -> int:
    from pruneguard import home

    known = settings()
    ledger = home.create(known, admin=args.admin, origin=args.origin, team=args.team)
    print(f"ledger {ledger.state().origin!r} opened in {known.home.resolve()}; keys lie in {known.keys_dir}")
    print("next: pruneguard approve --policy NAME_OR_FILE, then pruneguard run MANIFEST")
    return 0


def _approve(args: argparse.Namespace) -> int:
    from pruneguard import home, releases

    known = settings()
    ledger = home.open_ledger(known)
    person = signer(args, known)
    if args.policy:
        policy = service("policies.document").load_policy(args.policy)
        done = releases.adopt(ledger, home.artifacts(known), policy=policy, signer=person)
        print(f"policy {policy.name} {policy.version} adopted by {person.actor} (event {done.index})")
        if (pending := ledger.state().pending.get(policy.digest)) is not None:
            needed = ledger.state().in_force[policy.name].approvals_min
            print(f"{len(pending.adopted_by)} of {needed}: another approver must adopt it before it is in force")
        return 0
    if args.model is None or args.number is None:
        waiting = [f"{r.model} {r.number}" for r in releases.awaiting_approval(ledger.state())]
        raise InvalidInputError(f"name a model and a release's number, or --policy; waiting are {waiting or 'none'}")
    done = releases.approve(ledger, model=args.model, number=args.number, reason=args.reason, signer=person)
    state = ledger.state()
    release = releases.find_release(state, model=args.model, number=args.number)
    print(f"{args.model} {args.number} is {release.status} (event {done.index}, signed by {person.actor})")
    if told := releases.told_waivers(state, release, state.clock):
        print(told)
    if release.status == "approved":
        print("next: pruneguard up, which gives it traffic; where one runs already it follows by itself")
    return 0


def _waive(args: argparse.Namespace) -> int:
    from pruneguard import home, releases

    known = settings()
    ledger = home.open_ledger(known)
    person = signer(args, known)
    done = releases.waive(
        ledger,
        model=args.model,
        rule=args.rule,
        until=_until(args.until),
        reason=args.reason,
        control=args.control,
        candidate=args.candidate,
        signer=person,
    )
    data = done.event.data
    print(f"{args.rule} stays failed and is waived until {data['expires']} by {person.actor} (event {done.index})")
    print(f"score: {data['before']} rules pass, {data['after']} with it")
    model = ledger.state().models[args.model]
    if done.event.refs["verdict"] in {verdict.digest for verdict in releases.unreleased(model)}:
        print(f"next: pruneguard propose {args.model}")
    return 0


def _propose(args: argparse.Namespace) -> int:
    from pruneguard import home, releases

    known = settings()
    ledger = home.open_ledger(known)
    person = signer(args, known)
    verdict = releases.proposable(ledger.state(), model=args.model)
    done = releases.propose(
        ledger,
        model=args.model,
        candidate=verdict.candidate,
        verdict=verdict.digest,
        causation=f"{verdict.run}/propose/{verdict.candidate}",
        signer=person,
    )
    number = done.event.data["number"]
    print(f"{args.model} {number} is proposed (event {done.index}, signed by {person.actor})")
    print(f"next: pruneguard approve {args.model} {number} --reason ...")
    return 0


def _until(text: str) -> timedelta | datetime:
    """`30d` or `2026-12-24`."""
    try:
        if text.endswith("d"):
            return timedelta(days=int(text.removesuffix("d")))
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInputError(f"--until {text}: expected days as in 30d, or a day as in 2026-12-24") from error
