"""What a statement is about, proved on this machine before somebody signs it: the bundle itself, by its digest.

Which digest a review or a name stands for is the server's word. A server that was taken over could have a reviewer look
at one version and sign another, or an operator order something else than the script that they name. So whoever signs
gets the bundle, whose digest is computed here and whose manifest says what it is; and the code that is shown is read
from those very bytes. Of a difference, the older side is the version of which the server says that it was approved.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cli.values import segment
from protocol.errors import OutriderError, ProtocolError, TrustError

if TYPE_CHECKING:
    from cli.api import Api
    from protocol.bundle import Bundle


def of_review(api: Api, review: str) -> Bundle:
    """Return the bundle that a review is about.

    Raises:
        TrustError: ``wrong_digest``: it is another one than the server says.
        ProtocolError: The server's answer holds none.
    """
    return bundle_of(api.get(f"reviews/{segment(review)}/bundle"))


def of_script(api: Api, name: str, version: str | None) -> Bundle:
    """Return the bundle of a script: of the version that is named, or of the newest that may run.

    Raises:
        TrustError: ``mix_and_match``: it is of another script or version; or as :func:`of_review`.
        ProtocolError: The server's answer holds none.
    """
    found = bundle_of(api.get("scripts/bundle", name=name, version=version))
    told = (found.manifest.name, found.manifest.version)
    if told != (name, version or told[1]):
        raise TrustError(
            f"the server was asked for {name}{f' {version}' if version else ''} and handed out {' '.join(told)}",
            reason="mix_and_match",
        )
    return found


def require_same(shown: Mapping[str, Any], bundle: Bundle, digest: str | None = None) -> None:
    """Return if what the server shows of a review is about this bundle.

    Args:
        shown: The review, as the server tells it.
        bundle: What it hands out.
        digest: What the person says that it must be; None if they say nothing.

    Raises:
        TrustError: ``wrong_digest``: it is about another one.
    """
    if digest is not None and bundle.digest != digest:
        raise TrustError(f"it is {bundle.digest}, not {digest[:80]}", reason="wrong_digest")
    manifest = bundle.manifest
    is_it = {
        "script": manifest.name, "version": manifest.version, "tier": manifest.tier.label, "digest": bundle.digest,
    }  # fmt: skip
    for what, is_so in is_it.items():
        if shown.get(what) != is_so:
            raise TrustError(
                f"the server shows the {what} {str(shown.get(what))[:100]} and hands out a bundle with {is_so}",
                reason="wrong_digest",
            )


def bundle_of(told: Any) -> Bundle:
    """Return the bundle in the server's answer; raises as :func:`of_review`."""
    digest = told.get("digest") if isinstance(told, dict) else None
    if not isinstance(digest, str):
        raise ProtocolError("the server's answer holds no bundle")
    found = unpacked(told.get("bundle"))
    found.verify(digest)
    return found


def unpacked(packed: Any) -> Bundle:
    """Return the bundle that base64 in the server's answer holds; ProtocolError if it holds none."""
    from protocol.bundle import Bundle  # loads the YAML library; only who signs or reads a version pays for it

    try:
        return Bundle.unpack(base64.b64decode(packed, validate=True))
    except (binascii.Error, ValueError, TypeError, OutriderError) as error:
        raise ProtocolError(f"the server's answer holds no bundle: {error}") from None
