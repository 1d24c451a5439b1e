"""Becoming an agent: one request to the server that the join token names, and a state directory whole or absent.

- Nothing is kept before the server has proved the key that the token pins, and the roster was proved against the roots
  that came with it. The key is made for the request and written only then.
- Who has a roster from the roots themselves gives it (``trusted``): then the server has no say about them, only newer
  rosters that follow from that one.
- ``agent.json`` is written last: without it the directory is not enrolled, whatever a crash left behind, and what it
  left is replaced by the next attempt.
- A directory that is enrolled is never enrolled again: its ledger belongs to one identity.
"""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from agent import limits
from agent.config import AgentConfig, Settings, check_server, load_config, save_config, save_roots
from agent.files import write_durably
from agent.identity import save_identity
from agent.statedir import StateDir
from policies.ceiling import DEFAULT_TEXT
from protocol.enrolment import NONCE_BYTES, EnrolmentAnswer, make_request, parse_token, verify_answer
from protocol.errors import (
    ArgumentError,
    ConflictError,
    DeniedError,
    NotConnectedError,
    OutriderError,
    ProtocolError,
    RateError,
    TrustError,
    UnauthenticatedError,
    UnavailableError,
)
from protocol.limits import MAX_ENVELOPE_BYTES
from protocol.roster import TrustedRoster, parse
from protocol.signing import Envelope, PrivateKey, PublicKey, peek

ENROLMENT_PATH: Final = "/agent/v1/enroll"
_MAX_ANSWER_BYTES: Final = 2 * MAX_ENVELOPE_BYTES  # a roster and what stands around it
_MAX_SAID_CHARS: Final = 500


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What the operator asked for."""

    server: str
    token: str
    name: str | None
    labels: Mapping[str, str]
    ca_file: str | None = None
    trusted: Envelope | None = None  # a roster from another source than the server


def enroll(state: StateDir, wanted: Enrolment, now: datetime) -> AgentConfig:
    """Enrol the state directory and return what it is from now on.

    Args:
        state: Made if it is absent.
        wanted: As the operator said.
        now: The present; the roster must not have expired.

    Raises:
        ConflictError: The directory is enrolled already, or an agent works in it.
        ArgumentError: Address, token, name or labels do not have their form.
        NotConnectedError: The server cannot be reached.
        TrustError: The server is not the one of the token, its roster proves nothing or does not follow from the one
            that was given, or it refuses the token.
        OutriderError: Whatever else the server refuses for.
    """
    server, token = check_server(wanted.server), parse_token(wanted.token)
    state.create()
    with state.locked():
        if state.config.exists():
            raise ConflictError(f"{state.path} is enrolled already; its ledger belongs to that agent")
        key, nonce = PrivateKey.generate(), secrets.token_bytes(NONCE_BYTES)
        request = make_request(
            token, key, hostname=socket.gethostname(), nonce=nonce, name=wanted.name, labels=wanted.labels
        )
        answer = verify_answer(_post(server, request, wanted.ca_file), token, key.public, nonce)
        roots, threshold, roster = _pinned(answer, wanted.trusted, now)
        config = AgentConfig(
            server, answer.server_key, answer.agent_id, wanted.name, roots, threshold,
            Settings(ca_file=wanted.ca_file),
        )  # fmt: skip
        _keep(state, key, roster, config)
    return config


def pin_roots(state: StateDir, trusted: Envelope, now: datetime) -> AgentConfig:
    """Pin the roots of a roster, on a host that was enrolled when there was none; return what it is from now on.

    Args:
        state: Enrolled, and no agent works in it.
        trusted: The roster.
        now: The present; the roster must not have expired.

    Raises:
        ConflictError: The host has roots already, or an agent works in the directory.
        NotFoundError: It is not enrolled.
        TrustError: The roster does not prove itself by its own roots, or has expired.
        OutriderError: ``agent.json`` cannot be read or written.
    """
    state.check()
    with state.locked():
        config = load_config(state)
        if config.roots:
            raise ConflictError(f"{state.path} has pinned roots already: only a roster that these sign can name others")
        first = parse(peek(trusted))
        TrustedRoster(first.roots, first.root_threshold).update(trusted, now)
        # What is pinned comes last: a roster without roots to prove it by is looked at by nobody.
        write_durably(state.roster, trusted.to_json().encode())
        save_roots(state, tuple(first.roots.values()), first.root_threshold)
        return load_config(state)


Pinned = tuple[tuple[PublicKey, ...], int, Envelope | None]  # roots, their threshold, the newest roster


def _pinned(answer: EnrolmentAnswer, trusted: Envelope | None, now: datetime) -> Pinned:
    """Return what the host pins: by the roster that was given, else by what the server says."""
    if trusted is not None:
        first = parse(peek(trusted))
        following = TrustedRoster.resume(trusted, now)
        following.update(answer.roster or trusted, now)
        return tuple(first.roots.values()), first.root_threshold, following.envelope
    if answer.roster is not None:
        if not answer.roots:
            raise TrustError("the server sent a roster and no roots to prove it by", reason="unsigned")
        TrustedRoster({key.key_id: key for key in answer.roots}, answer.threshold).update(answer.roster, now)
    return answer.roots, answer.threshold, answer.roster


def _keep(state: StateDir, key: PrivateKey, roster: Envelope | None, config: AgentConfig) -> None:
    for leftover in (state.identity, state.roster):  # of an attempt that crashed before agent.json
        with suppress(FileNotFoundError):
            leftover.unlink()
    save_identity(state.identity, key)
    if roster is not None:
        write_durably(state.roster, roster.to_json().encode())
    if not state.ceiling.exists():
        write_durably(state.ceiling, DEFAULT_TEXT.encode(), mode=0o644)
    save_config(state, config)


def _post(server: str, body: Mapping[str, Any], ca_file: str | None) -> Any:
    """Return the JSON value that the server answered."""
    import http.client  # here, so that a running agent does not carry it
    from urllib.parse import urlsplit

    parts = urlsplit(server)
    host, port = parts.hostname or "", parts.port
    if parts.scheme == "https":
        from agent.websocket import tls_context

        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, port, timeout=limits.CONNECT_TIMEOUT_S, context=tls_context(ca_file)
        )
    else:
        connection = http.client.HTTPConnection(host, port, timeout=limits.CONNECT_TIMEOUT_S)
    try:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        connection.request("POST", f"{parts.path}{ENROLMENT_PATH}", json.dumps(body), headers)
        response = connection.getresponse()
        status, content = response.status, response.read(_MAX_ANSWER_BYTES + 1)
    except (OSError, http.client.HTTPException) as error:
        raise NotConnectedError(f"{server} cannot be reached: {error or type(error).__name__}") from error
    finally:
        connection.close()
    return _answered(server, status, content)


def _answered(server: str, status: int, content: bytes) -> Any:
    if len(content) > _MAX_ANSWER_BYTES:
        raise ProtocolError(f"{server} answered with more than {_MAX_ANSWER_BYTES} bytes")
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    if status in (200, 201):
        if isinstance(value, dict):
            return value
        raise ProtocolError(f"{server} answered with something else than JSON: it is not an Outrider server")
    raise refusal(status, value if isinstance(value, dict) else {})


def refusal(status: int, problem: Mapping[str, Any]) -> OutriderError:
    """Return the error that a server's problem document (RFC 9457) stands for; its text is the server's, only shown.

    Args:
        status: Of the HTTP answer.
        problem: With ``code``, ``reason`` and ``detail``; whatever is missing or odd is said in its place.
    """
    code, detail = problem.get("code"), problem.get("detail")
    said = detail if isinstance(detail, str) and detail else f"HTTP status {status}"
    shown = "".join(character if character.isprintable() else "?" for character in said[:_MAX_SAID_CHARS])
    text = f"the server refuses: {shown}"
    match code:
        case TrustError.code:
            reason = problem.get("reason")
            return TrustError(text, reason=reason if isinstance(reason, str) and reason else "refused")
        case UnauthenticatedError.code:
            return UnauthenticatedError(text)
        case ConflictError.code:
            return ConflictError(text)
        case ArgumentError.code | "invalid_document":
            return ArgumentError(text)
        case DeniedError.code:
            return DeniedError(text)
        case RateError.code:
            return RateError(text)
        case _:
            return UnavailableError(text)
