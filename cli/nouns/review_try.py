"""``outrider review try``: run a version under review dry on hosts of your choice, by your own signed order."""

from __future__ import annotations

from typing import Any

import click

from cli import exits, proving
from cli.identities import REVIEW
from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand, key_option
from cli.nouns import run as running
from cli.output import Column, counted, field, plain
from cli.values import bounded, pairs, segment, typed
from protocol import limits
from protocol.bundle import Bundle

MAX_HOSTS = 16  # of one command: each is looked at by a person
MAX_CALLS = 1_000  # shown of one host
CALLS = (
    field("call", "call"),
    Column("arguments", lambda call: plain(call["arguments"]) if call["arguments"] else ""),
    field("verdict", "verdict"),
    field("rule", "rule"),
    field("done", "done"),
)


@key_option
@click.command("try", cls=ServerCommand)
@click.argument("review", type=REVIEW)
@click.option("--on", "hosts", metavar="HOST", multiple=True, required=True, help="A host; may be repeated.")
@click.option("--arg", "given", multiple=True, metavar="K=V", help="A parameter of the script; may be repeated.")
@click.option("--reason", default="", metavar="TEXT", help="Why; it is on the record and in the review's history.")
@click.option("--timeout", metavar="DURATION", help="Kill the run after this long.")
@click.option("--wait", default="30s", show_default=True, metavar="DURATION", help="How long to wait for each host.")
@pass_invocation
def noun(
    invocation: Invocation, review: str, hosts: tuple[str, ...], given: tuple[str, ...], reason: str,
    timeout: str | None, wait: str,
) -> None:  # fmt: skip
    """Try a version on hosts before anybody approves it: a dry run, with every call that it makes.

    What only reads is carried out, at the tier that the version asks for; what would change anything is decided,
    recorded and not done. You sign the order with your own key, as a reviewer up to that tier or an operator, and not
    as its author. A host runs what is not approved only if its owner says so (ceiling.yaml: dry_runs: true).

    \b
    Examples:
      outrider review try 6f1d0a9b2c3e --on web-3
      outrider review try 6f1d0a9b2c3e --on web-3 --on mail-1 --arg device=sda --json
    """
    if len(set(hosts)) > MAX_HOSTS:
        raise click.BadParameter(f"at most {MAX_HOSTS} hosts at once", param_hint="'--on'")
    body: dict[str, Any] = {"reason": reason, "wait_s": bounded(wait, 0.0, running.MAX_WAIT_S, where="--wait")}
    if timeout is not None:
        body["timeout_s"] = bounded(timeout, limits.MIN_TIMEOUT_S, limits.MAX_TIMEOUT_S, where="--timeout")
    texts = pairs(given, where="--arg")
    found = invocation.api.get(f"reviews/{segment(review)}")
    bundle = proving.of_review(invocation.api, review)
    proving.require_same(found, bundle)
    body["parameters"] = typed(texts, found["manifest"]["parameters"]) if texts else {}
    # All of them are looked up first: a mistyped host is told before anything is tried.
    agents = {host: str(invocation.api.get(f"agents/{segment(host)}")["id"]) for host in dict.fromkeys(hosts)}
    runs = []
    for host, agent in agents.items():
        run = _try(invocation, review, bundle, host, agent, body)
        run["calls"] = _calls(invocation, run)
        runs.append(run)
        if not invocation.as_json:
            _show(invocation, run)
    if invocation.as_json:
        invocation.output.data({"runs": runs})
    invocation.exit(exits.of_runs([(str(run.get("status")), run.get("code")) for run in runs]))


def _try(
    invocation: Invocation, review: str, bundle: Bundle, host: str, agent: str, body: dict[str, Any]
) -> dict[str, Any]:
    from cli.orders import run_order  # signing loads the cryptography library

    order = run_order(invocation.signing_key(), [agent], bundle, body["parameters"], dry_run=True)
    answer = invocation.api.post(f"reviews/{segment(review)}/try", body | {"target": host, "order": order})
    (run,) = answer["runs"]
    return dict(run)


def _calls(invocation: Invocation, run: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what the host recorded of each call: its verdict and rule, and whether it was performed."""
    records = invocation.api.items("records", limit=MAX_CALLS, order="oldest", run=run["id"])
    return [
        {
            "call": record["call"], "arguments": record["arguments"], "verdict": record["verdict"],
            "rule": record["rule"], "outcome": record["outcome"], "done": _done(record),
        }
        for record in records
        if record["kind"] == "call"
    ]  # fmt: skip


def _done(record: dict[str, Any]) -> str:
    if record["outcome"] == "dry":
        return "dry"
    if record["verdict"] != "allow":
        return "no"
    return "performed" if record["outcome"] == "ok" else str(record["outcome"])


def _show(invocation: Invocation, run: dict[str, Any]) -> None:
    output = invocation.output
    if run["calls"]:
        output.table(run["calls"], CALLS)
    running.show_one(output, run)
    if run.get("status") == "refused":
        return  # which was said, with its reason
    dry = sum(call["done"] == "dry" for call in run["calls"])
    output.say(f"tried on {run.get('agent')}: {counted(len(run['calls']), 'call')}, {dry} not carried out")
