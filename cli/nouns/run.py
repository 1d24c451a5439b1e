"""``outrider run``: run a published script on hosts, once, now, and show each one's result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from cli import exits, proving
from cli.ages import day, of_ms, since
from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand, key_option
from cli.output import Column, Output, counted, field, plain
from cli.values import bounded, pairs, segment, typed
from protocol import limits
from protocol.errors import NotConnectedError, OutriderError

MAX_WAIT_S = 60.0  # the server's bound
WITHIN = "7d"  # that a run waits for its host unless it is said otherwise
MIN_WITHIN_S, MAX_WITHIN_S = 1.0, 30 * 86_400.0  # the latter is the server's bound
UNDER_WAY = frozenset({"queued", "running"})


def summary(run: dict[str, Any]) -> str:
    """Return the few words that say how a run ended, or until when it waits for its host."""
    if run.get("waits_until"):
        return waits(run)
    if run.get("status") != "ok":
        return str(run.get("reason") or "")
    if run.get("status_text"):
        return str(run["status_text"])
    metrics = run.get("metrics") or []
    if metrics:
        return metric(metrics[0])
    return "" if run.get("result") is None else plain(run["result"])


def waits(run: dict[str, Any]) -> str:
    """Return until when a run waits for its host, in local time."""
    return f"waits for its host until {day(run['waits_until'])}"


COLUMNS = (
    field("host", "agent"),
    field("script", "script"),
    field("status", "status"),
    Column("result", summary),
    Column("cpu ms", lambda run: (run.get("usage") or {}).get("cpu_ms"), is_number=True),
    Column("calls", lambda run: (run.get("usage") or {}).get("calls"), is_number=True),
    field("run", "id"),
)


def metric(item: dict[str, Any]) -> str:
    """Return one metric as text, such as ``usage_average 3.1 percent``."""
    name = f"{item['dimension']}.{item['name']}" if item.get("dimension") else str(item.get("name"))
    value = item.get("value")
    shown = f"{value:.1f}" if isinstance(value, float) else plain(value)
    return f"{name} {shown} {item.get('unit') or ''}".rstrip()


@key_option
@click.command(cls=ServerCommand)
@click.argument("words", nargs=-1, required=True, metavar="TARGET SCRIPT")
@click.option("-l", "--label", metavar="EXPR", help="Target by labels (role=mail,env!=test); then no TARGET.")
@click.option("--arg", "given", multiple=True, metavar="K=V", help="A parameter of the script; may be repeated.")
@click.option("--version", metavar="VERSION", help="Another than the newest approved one.")
@click.option("--reason", default="", metavar="TEXT", help="Why; it is on the record.")
@click.option("--timeout", metavar="DURATION", help="Kill the run after this long.")
@click.option("--wait", default="30s", show_default=True, metavar="DURATION", help="How long to wait for results.")
@click.option("--no-wait", is_flag=True, help="Only start it, and print the run's id.")
@click.option("--dry-run", is_flag=True, help="Decide and record what would change anything, and do not do it.")
@click.option("--sign", is_flag=True, help="Sign the order with your key, for hosts that want it.")
@click.option("--when-back", is_flag=True, help="Queue it for hosts that are away: it runs there once they are back.")
@click.option("--within", metavar="DURATION", help=f"With --when-back: give it up after this long ({WITHIN}).")
@pass_invocation
def noun(
    invocation: Invocation, words: tuple[str, ...], label: str | None, given: tuple[str, ...], version: str | None,
    reason: str, timeout: str | None, wait: str, no_wait: bool, dry_run: bool, sign: bool, when_back: bool,
    within: str | None,
) -> None:  # fmt: skip
    """Run SCRIPT on TARGET (a name, a glob, or -l labels) and show what came back.

    \b
    Examples:
      outrider run web-3 checks/memory
      outrider run 'web-*' checks/disk --arg device=sda
      outrider run -l role=mail checks/queue --json
      outrider run web-3 fix/log-rotate --dry-run
      outrider run web-9 checks/queue --when-back --within 2d
    """
    if within is not None and not when_back:
        raise click.UsageError("--within says how long --when-back waits; give both.")
    target, script = target_and_script(words, label)
    body: dict[str, Any] = {
        "target": target,
        "script": script,
        "parameters": parameters(invocation, script, version, given),
        "reason": reason,
        "wait_s": 0 if no_wait else bounded(wait, 0.0, MAX_WAIT_S, where="--wait"),
    }
    body.update({"version": version} if version else {})
    if timeout is not None:
        body["timeout_s"] = bounded(timeout, limits.MIN_TIMEOUT_S, limits.MAX_TIMEOUT_S, where="--timeout")
    body.update({"dry_run": True} if dry_run else {})
    if when_back:
        body["when_back_s"] = bounded(within or WITHIN, MIN_WITHIN_S, MAX_WITHIN_S, where="--within")
    if sign:
        body["order"] = _signed(invocation, body)
    runs = _start(invocation, body)
    if no_wait:
        started(invocation, runs)
        invocation.exit(exits.of_runs((begun(run), run.get("code")) for run in runs))
    show(invocation, runs)
    if not sign and any("must sign the order" in str(run.get("reason")) for run in runs):
        invocation.output.say(
            "sign it, as somebody whom the roster lets order runs: --sign  (who is one: outrider roster show)"
        )
    if dry_run and not invocation.as_json:
        for run in runs:
            invocation.output.say(
                f"dry run: what was not done has the outcome dry in: outrider record ls --run {run['id']}"
            )
    # What waits for its host is done as far as it was asked for.
    ended = [("ok" if run.get("waits_until") else str(run.get("status")), run.get("code")) for run in runs]
    invocation.exit(exits.of_runs(ended))


def begun(run: dict[str, Any]) -> str:
    """Return how a run stands for somebody who only started it: it was, unless it has been refused by then."""
    return "refused" if run.get("status") == "refused" else "ok"


def _start(invocation: Invocation, body: dict[str, Any]) -> list[dict[str, Any]]:
    try:
        answer = invocation.api.post("runs", body)
    except NotConnectedError as error:
        raise NotConnectedError(_away(invocation, str(body["target"]), error.message)) from None
    for warning in answer.get("warnings") or []:
        invocation.output.say(f"warning: {warning}")
    return list(answer["runs"])


def _away(invocation: Invocation, target: str, message: str) -> str:
    """Return the message about a host that is away, with what helps: since when, and where to look."""
    try:
        agent = invocation.api.get(f"agents/{segment(target)}")
    except OutriderError:  # what the server said is enough then
        return message
    seen = f"last seen {since(agent['last_seen'])}" if agent.get("last_seen") else "never seen"
    name = agent["name"]
    return f"{name} is not connected ({seen}). Queue it with --when-back, or see: outrider agent show {name}"


def target_and_script(words: Sequence[str], label: str | None) -> tuple[str, str]:
    """Return the target and the script of the command's words.

    Raises:
        click.UsageError: Too few or too many.
    """
    if label is not None:
        if "=" not in label:
            raise click.BadParameter(f"{label!r} has no label in it (example: role=mail)", param_hint="'-l'")
        if len(words) != 1:
            raise click.UsageError("With -l there is no TARGET: outrider run -l role=mail SCRIPT")
        return f"-l {label}", words[0]
    if len(words) != 2:
        raise click.UsageError("Give TARGET and SCRIPT, such as: outrider run web-3 checks/memory")
    return words[0], words[1]


def parameters(invocation: Invocation, script: str, version: str | None, given: Sequence[str]) -> dict[str, Any]:
    """Return the typed parameters of ``--arg``; only a run that has some asks the server for their types."""
    texts = pairs(given, where="--arg")
    if not texts:
        return {}
    shown = invocation.api.get("scripts/show", name=script, version=version)
    return typed(texts, shown["manifest"]["parameters"])


def _signed(invocation: Invocation, body: dict[str, Any]) -> dict[str, Any]:
    """Return the operator's signed order for this run; the version that it is for is the one that is asked for then."""
    from cli.orders import run_order  # signing loads the cryptography library

    bundle = proving.of_script(invocation.api, body["script"], body.get("version"))
    body["version"] = bundle.manifest.version
    agents = [str(agent["id"]) for agent in invocation.api.items("agents", target=body["target"])]
    return run_order(
        invocation.signing_key(), agents, bundle, body["parameters"], dry_run=body.get("dry_run", False),
        waits_s=body.get("when_back_s", 0.0),
    )  # fmt: skip


def show(invocation: Invocation, runs: list[dict[str, Any]]) -> None:
    """Show runs: one in full, several as a table."""
    output = invocation.output
    if output.as_json:
        output.data({"runs": runs})
        return
    if len(runs) != 1:
        output.table(runs, COLUMNS, empty="no host matches")
        return
    show_one(output, runs[0])


def started(invocation: Invocation, runs: list[dict[str, Any]]) -> None:
    """Show runs that nobody waits for: their ids alone on stdout, so that a program can take them."""
    output = invocation.output
    if output.as_json:
        output.data({"runs": runs})
        return
    for run in runs:
        output.line(str(run.get("id")))
        output.say(last_line(run))


def show_one(output: Output, run: dict[str, Any]) -> None:
    """Show one run in full: what it printed, its metrics and its result; how it went as talk."""
    if run.get("output"):
        output.raw(str(run["output"]))
    if run.get("metrics"):
        output.table(run["metrics"], metrics_columns(run.get("timestamp_ms")))
    for row in run.get("rows") or ():
        output.row(row)
    if run.get("result") is not None:
        output.data(run["result"])
    if run.get("truncated"):
        output.say("the output was cut at its limit")
    output.say(last_line(run))


def last_line(run: dict[str, Any]) -> str:
    """Return how a run went, in one line: status, host, script, what it said or why it failed, what it cost."""
    status = str(run.get("status"))
    text = str(run.get("reason") or run.get("status_text") or "")
    if status in UNDER_WAY:
        about = f"{waits(run)}; " if run.get("waits_until") else ""
        text = text or f"{about}see: outrider runs show {run.get('id')}"
    parts = (status, run.get("agent"), run.get("script"), text, _cost(run))
    return "  ".join(str(part) for part in parts if part)


_METRICS = (
    Column("metric", lambda item: f"{item['dimension']}.{item['name']}" if item.get("dimension") else item.get("name")),
    Column("value", lambda item: item.get("value"), is_number=True),
    field("unit", "unit"),
    field("type", "type"),
)


def metrics_columns(timestamp_ms: object) -> tuple[Column, ...]:
    """Return the columns of a table of metrics; with when they were taken, if the script told (``check.timestamp``)."""
    return _METRICS if timestamp_ms is None else (*_METRICS, Column("taken", lambda _: of_ms(timestamp_ms)))


def _cost(run: dict[str, Any]) -> str:
    usage = run.get("usage") or {}
    if not usage:
        return ""
    calls = counted(int(usage.get("calls") or 0), "call")
    return f"{usage.get('wall_ms') or 0:.1f} ms, {usage.get('cpu_ms') or 0:.1f} ms cpu, {calls}"
