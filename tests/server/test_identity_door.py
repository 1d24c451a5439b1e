"""The one door of the API that opens without a token: whose server it is."""

from __future__ import annotations

import pytest
from headquarters import Headquarters, expect, refused

from protocol.identity import proved

NONCE = "ab" * 32
PATH = "/api/v1/identity"


async def test_it_says_so_to_anybody(bare: Headquarters) -> None:
    for headers in ({}, {"Authorization": "Bearer ort_wrong"}, bare.authorization("viewer")):
        told = expect(await bare.api.get(PATH, params={"nonce": NONCE}, headers=headers), 200)
        assert proved(told, NONCE) == bare.key.public
        assert set(told) == {"key", "key_id", "proof"}


@pytest.mark.parametrize("nonce", [None, "", "x", "AB" * 32, "ab" * 31, "ab" * 33, "ab" * 32 + "\n", "ab" * 5_000])
async def test_it_signs_nothing_but_a_nonce(bare: Headquarters, nonce: str | None) -> None:
    refused(await bare.api.get(PATH, params={} if nonce is None else {"nonce": nonce}), 422, "invalid_argument")


async def test_only_by_this_one_way(bare: Headquarters) -> None:
    for path in (f"{PATH}/", f"{PATH}/x", "/api/v1/identityx", "/api/v1//identity"):
        answer = await bare.api.get(path, params={"nonce": NONCE})
        assert answer.status_code in (401, 404), path
    assert (await bare.api.post(PATH, params={"nonce": NONCE})).status_code == 404
