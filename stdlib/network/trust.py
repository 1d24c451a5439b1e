"""TLS towards peers: whom to believe, and what a certificate says. A certificate is hostile input."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from kernel.visits import begun_apart
from protocol.errors import ArgumentError, OutriderError
from stdlib.network.connection import CertificateError, Connection
from stdlib.network.reach import Endpoint, Timings

if TYPE_CHECKING:
    from cryptography import x509

MAX_NAMES: Final = 100  # of one certificate that are shown
MAX_SHOWN: Final = 512  # characters of one text in it


@dataclass(frozen=True, slots=True)
class Secured:
    """What became of beginning TLS."""

    connection: Connection | None  # None: who answers could not prove who it is
    cert: dict[str, Any]  # what its certificate says; ``error`` says why it is not to be believed
    ip: str | None  # who answered


async def context(ca: str, *, is_proof_wanted: bool = True, protocols: Sequence[str] = ()) -> ssl.SSLContext:
    """Return the rules of one TLS connection: TLS 1.2 and up, the system's authorities or those in ``ca`` (PEM).

    Raises:
        ArgumentError: ``ca`` holds no certificates.
    """
    if not is_proof_wanted:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    elif ca:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            made.load_verify_locations(cadata=ca)
        except (ssl.SSLError, ValueError):
            raise ArgumentError("ca: holds no certificates in PEM", parameter="ca") from None
    else:
        made = await begun_apart(ssl.create_default_context)  # reads a few hundred certificates from the disk
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if protocols:
        made.set_alpn_protocols(list(protocols))
    return made


async def secure(
    candidates: Sequence[Endpoint],
    name: str,
    *,
    ca: str,
    protocols: Sequence[str] = (),
    timings: Timings,
    timeout_s: float,
    now: float,
) -> Secured:
    """Connect and begin TLS with a peer that must prove to be ``name``; say what its certificate says in any case.

    If the peer proves nothing, what its certificate says is asked for over a second connection to the same address,
    over which nothing else is sent.

    Raises:
        UnavailableError: It does not answer, or not in TLS.
    """
    proving = await context(ca, protocols=protocols)
    connection = await Connection.open(candidates, timings, timeout_s)
    try:
        await connection.start_tls(proving, name, timings)
        return Secured(connection, await _read(connection.certificate, now), connection.ip)
    except CertificateError as error:
        connection.close()
        said = {**await _unproven(connection.endpoint, name, now), "error": error.message}
        return Secured(None, said, connection.ip)
    except BaseException:
        connection.close()
        raise


async def _read(der: bytes | None, now: float) -> dict[str, Any]:
    return await begun_apart(certificate_facts, der, now)  # loads a library, and may be asked to read nonsense


async def _unproven(endpoint: Endpoint | None, name: str, now: float) -> dict[str, Any]:
    if endpoint is None:
        return certificate_facts(None, now)
    try:
        async with await Connection.open([endpoint], Timings(asyncio.get_running_loop().time), 0.0) as connection:
            await connection.start_tls(await context("", is_proof_wanted=False), name)
            return await _read(connection.certificate, now)
    except OutriderError:
        return certificate_facts(None, now)


def certificate_facts(der: bytes | None, now: float) -> dict[str, Any]:
    """Return what a certificate says, with the fields that ``net.tls_peer`` promises."""
    from cryptography import x509  # loads the most of that library, which few runs need

    empty: dict[str, Any] = dict.fromkeys(("subject", "issuer", "start", "end", "end_in", "error"))
    empty["sans"] = []
    if der is None:
        return empty
    try:
        found = x509.load_der_x509_certificate(der)
        end = _seconds(found.not_valid_after_utc)
        return {
            "subject": found.subject.rfc4514_string()[:MAX_SHOWN], "issuer": found.issuer.rfc4514_string()[:MAX_SHOWN],
            "sans": _names(found), "start": _seconds(found.not_valid_before_utc), "end": end,
            "end_in": int(end - now), "error": None,
        }  # fmt: skip
    except (ValueError, TypeError, OverflowError, x509.UnsupportedGeneralNameType) as error:
        return {**empty, "error": f"the certificate cannot be read: {error}"[:MAX_SHOWN]}


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _names(certificate: x509.Certificate) -> list[str]:
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    shown = [str(name.value) for name in names if isinstance(name, (x509.DNSName, x509.IPAddress))]
    return [name[:MAX_SHOWN] for name in shown[:MAX_NAMES]]
