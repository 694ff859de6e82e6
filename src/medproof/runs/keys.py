"""The content key of a response: what was asked, of which weights, how."""

import hashlib

from medproof.records import Decoding, Item


def response_key(
    item: Item,
    pixels_sha256: str,
    messages_json: str,
    condition_key: str,
    seed: int,
    decoding: Decoding,
    weights_hash: str,
    processor_hash: str,
) -> str:
    """SHA-256 (hex) over everything that decides a response; a changed byte in any part changes it.

    `pixels_sha256` is that of the *prepared* view. For an attack that is the image it starts from: the attacked image
    follows from it, the condition's parameters, the seed and the weights, all of which are in the key, so that a
    resumed run knows what is done without attacking again. The condition keeps clean and attacked apart.
    """
    parts = (
        item.fingerprint(),
        pixels_sha256,
        messages_json,
        condition_key,
        str(seed),
        decoding.to_json(),
        weights_hash,
        processor_hash,
    )
    digest = hashlib.sha256(b"medproof response 1")
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "big"))  # length prefix: no two lists of parts run together
        digest.update(data)
    return digest.hexdigest()
