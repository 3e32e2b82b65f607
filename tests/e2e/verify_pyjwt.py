"""Verifies signed tokens with PyJWT.

Reads [{"token", "alg", "pem" | "secret_hex"}] on standard input and writes as many
{"ok": true, "header", "claims"} or {"ok": false, "error"}. Times in claims are not judged.
"""

import json
import sys

import jwt

WITHOUT_TIMES = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}


def verify(case):
    key = bytes.fromhex(case["secret_hex"]) if "secret_hex" in case else case["pem"]
    try:
        decoded = jwt.decode_complete(case["token"], key, algorithms=[case["alg"]], options=WITHOUT_TIMES)
    except Exception as error:  # whatever the library refuses, however it says so
        return {"ok": False, "error": f"{type(error).__name__}: {error}"}
    return {"ok": True, "header": decoded["header"], "claims": decoded["payload"]}


json.dump([verify(case) for case in json.load(sys.stdin)], sys.stdout)
