"""``net.download``: a file of the network that must have the hash that was said, on its way to the server's blobs."""

from __future__ import annotations

from typing import Annotated

from kernel.visits import begun_apart
from protocol.errors import TrustError, UnavailableError
from protocol.limits import MAX_BLOB_NAME_CHARACTERS
from protocol.tiers import Tier
from protocol.transfer import blob_hash
from stdlib.blobs import DEFAULT_BYTES, MAX_BYTES, drafted
from stdlib.call_specs import Permit
from stdlib.declaring import call
from stdlib.fs_blobs import Hash, blobs_of, shown_name
from stdlib.host import Host, RunContext
from stdlib.net_http import MAX_REDIRECTS, Hopper, UrlText, requesting
from stdlib.net_probes import AuthorityText
from stdlib.network.http import OK, Request
from stdlib.network.reach import within
from stdlib.network.urls import Url
from stdlib.parameters import Bounds, Length

MAX_ANSWER_BYTES = 4096  # of an answer that is no file, for the error
#: Of "a download", which the tests serve as what the example is about.
_KNOWN = "baf040cdec66bb5d0b3c21d3031b2f0dc4b005ff870ea31cdea249113c5447d3"


@call(
    "net.download",
    tier=Tier.OPERATE,
    changes=True,
    decides=requesting,
    lua=f'local sha256 = "{_KNOWN}"\nlocal blob = net.download("https://www.example.org/a.tgz", sha256)',
    python=f'sha256 = "{_KNOWN}"\nblob = net.download("https://www.example.org/a.tgz", sha256)',
)
async def download(
    system: Host,
    run: RunContext,
    permit: Permit,
    url: UrlText,
    sha256: Hash,
    name: Annotated[str, Length(MAX_BLOB_NAME_CHARACTERS)] = "",
    max: Annotated[int, Bounds(0, MAX_BYTES, "bytes")] = DEFAULT_BYTES,
    redirects: Annotated[int, Bounds(0, MAX_REDIRECTS)] = 5,
    timeout: Annotated[float, Bounds(0.01, 3600, "seconds")] = 300.0,  # noqa: ASYNC109 - the name that scripts use
    ca: AuthorityText = "",
) -> str:
    """Give the content of a URL to the server, if it has the hash that is said; return that hash, as ``fs.upload``.

    ``sha256`` is 64 lower-case hexadecimal digits, with or without ``sha256:`` before them.

    Redirects are followed, and each is decided like the first; servers must prove who they are (``ca`` as for
    ``net.http``). Nothing is kept of what has another hash, or more than ``max`` bytes.

    Raises:
        TrustError: It has another hash.
        TooLargeError: It is larger than ``max``, or than the server takes.
        UnavailableError: It cannot be had, or cannot be kept.
    """
    blobs, wanted, place = blobs_of(run), blob_hash(sha256, parameter="sha256"), Url.parse(url)
    draft = await drafted(lambda: blobs.draft(int(max)))

    async def keep(piece: bytes) -> None:
        await begun_apart(draft.write, piece)

    try:
        hopper = Hopper(system, permit, ca, MAX_ANSWER_BYTES, timeout, is_method_decided=False, keep=keep)
        async with within(timeout, f"GET {place.authority}"):
            answered = await hopper.follow(Request("GET", place), int(redirects))
        if answered.response is None:
            raise UnavailableError(f"{place.authority}: {answered.cert and answered.cert['error']}")
        if answered.response.code != OK:
            raise UnavailableError(f"{answered.url.authority} answers {answered.response.code}")
        if draft.hash != wanted:
            raise TrustError(f"{answered.url.authority} sent what has the hash {draft.hash}", reason="wrong_digest")
    except BaseException:
        await begun_apart(draft.discard)
        raise
    return await blobs.keep(draft, name or shown_name(place.path.partition("?")[0]))
