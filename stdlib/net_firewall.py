"""``net.firewall``: the rules of the host's packet filter.

The kernel gives rules out in a form that only their own tools can put into words, so ``nft --json`` is asked, and
``iptables-save`` where tables of the old kind are in use or there is no nft.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

from protocol.errors import UnavailableError
from protocol.tiers import Tier
from stdlib import trees
from stdlib.declaring import call
from stdlib.host import Host
from stdlib.parameters import Bounds
from stdlib.tools import find_tool, run_tool

MAX_RULES = 5_000  # of one answer
MAX_RULE_CHARACTERS = 2_000
_OLD = (("ip", "iptables-save", "ip_tables_names"), ("ip6", "ip6tables-save", "ip6_tables_names"))
_CHAIN = re.compile(r":(\S+) (\S+)")
_RULE = re.compile(r"(?:\[\d+:\d+\] )?-A (\S+) ?(.*)")


@call(
    "net.firewall",
    tier=Tier.INSPECT,
    lua="local rules = net.firewall().rules",
    python='rules = net.firewall()["rules"]',
)
async def firewall(host: Host, limit: Annotated[int, Bounds(1, MAX_RULES)] = 1_000) -> dict[str, Any]:
    """Return ``{chains, rules, more}``: the packet filter in the order in which it is asked.

    Each chain is ``source`` (nft or iptables), ``family`` (such as ip, ip6, inet), ``table``, ``chain``, ``hook`` and
    ``priority`` (of nft's base chains), ``policy`` (accept, drop, or nothing). Each rule is ``source``, ``family``,
    ``table``, ``chain``, ``rule``: the arguments of iptables, or nft's expressions as JSON text.
    Source: ``nft --json list ruleset``, ``iptables-save``.

    Raises:
        UnavailableError: There is no such tool here, or the agent may not ask (CAP_NET_ADMIN).
    """
    chains: list[dict[str, Any]] = []
    rules: list[dict[str, Any]] = []
    has_nft = find_tool(host, "nft") is not None
    is_cut = False
    if has_nft:
        ended = await run_tool(host, "nft", "--json", "list", "ruleset", most_bytes=16 << 20)
        if ended.truncated:
            raise UnavailableError("the packet filter has more than 16 MiB of rules")
        _read_nft(ended.text, chains, rules)
    for family, tool, tables in _OLD:
        # nft shows nothing of the tables of the old kind, and the old tool shows nft's again.
        if trees.value(f"{host.proc}/net/{tables}") if has_nft else find_tool(host, tool):
            ended = await run_tool(host, tool, most_bytes=16 << 20)
            is_cut = is_cut or ended.truncated
            read_save(ended.text, family, chains, rules)
    if not has_nft and not any(find_tool(host, tool) for _, tool, _ in _OLD):
        raise UnavailableError("this host has neither nft nor iptables-save")
    return {"chains": chains[:MAX_RULES], "rules": rules[: int(limit)], "more": is_cut or len(rules) > int(limit)}


def _read_nft(text: str, chains: list[dict[str, Any]], rules: list[dict[str, Any]]) -> None:
    """Add what nft printed. Source: libnftables-json(5)."""
    try:
        told = json.loads(text)["nftables"]
    except (ValueError, KeyError, TypeError):
        raise UnavailableError("nft gave no JSON of the form that its manual promises") from None
    for item in told:
        if "chain" in item:
            chain = item["chain"]
            chains.append({
                "source": "nft", "family": chain.get("family"), "table": chain.get("table"),
                "chain": chain.get("name"), "hook": chain.get("hook"), "priority": chain.get("prio"),
                "policy": chain.get("policy"),
            })  # fmt: skip
        elif "rule" in item:
            rule = item["rule"]
            rules.append({
                "source": "nft", "family": rule.get("family"), "table": rule.get("table"), "chain": rule.get("chain"),
                "rule": json.dumps(rule.get("expr", []), separators=(",", ":"))[:MAX_RULE_CHARACTERS],
            })  # fmt: skip


def read_save(text: str, family: str, chains: list[dict[str, Any]], rules: list[dict[str, Any]]) -> None:
    """Add what iptables-save printed: ``*table``, ``:CHAIN POLICY [packets:bytes]``, ``-A CHAIN ...``."""
    table = ""
    for line in text.split("\n"):
        chain, rule = _CHAIN.match(line), _RULE.match(line)
        if line.startswith("*"):
            table = line[1:].strip()
        elif chain:
            chains.append({
                "source": "iptables", "family": family, "table": table, "chain": chain[1], "hook": None,
                "priority": None, "policy": None if chain[2] == "-" else chain[2].lower(),
            })  # fmt: skip
        elif rule:
            rules.append({
                "source": "iptables", "family": family, "table": table, "chain": rule[1],
                "rule": rule[2][:MAX_RULE_CHARACTERS],
            })  # fmt: skip
