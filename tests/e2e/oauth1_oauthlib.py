"""An OAuth 1.0a provider made of oauthlib's endpoints, one question at a time.

Reads [{"endpoint": "resource" | "temporary" | "token", "method", "url", "headers", "body",
"consumer_secret", "token_secret", "verifier", "public_key"}] on standard input and writes as many
{"ok", "status", "body"}. Times and nonces are not judged, signatures and parameters are.
"""

import json
import sys

from oauthlib.oauth1 import (
    AccessTokenEndpoint,
    RequestTokenEndpoint,
    RequestValidator,
    ResourceEndpoint,
)

ALL_METHODS = ("HMAC-SHA1", "HMAC-SHA256", "RSA-SHA1", "RSA-SHA256", "PLAINTEXT")


class Validator(RequestValidator):
    enforce_ssl = False
    timestamp_lifetime = 10**12
    allowed_signature_methods = ALL_METHODS
    dummy_client = dummy_request_token = dummy_access_token = "dummy"

    def __init__(self, case):
        super().__init__()
        self.case = case
        for name in ("client_key", "request_token", "access_token", "nonce", "verifier"):
            setattr(self, f"check_{name}", lambda value: bool(value))

    def validate_timestamp_and_nonce(self, *args, **more):
        return True

    def get_client_secret(self, *args):
        return self.case.get("consumer_secret", "")

    def get_request_token_secret(self, *args):
        return self.case.get("token_secret", "")

    get_access_token_secret = get_request_token_secret

    def get_rsa_key(self, *args):
        return self.case.get("public_key")

    def validate_verifier(self, client_key, token, verifier, request):
        return verifier == self.case["verifier"]

    def validate_redirect_uri(self, client_key, redirect_uri, request):
        return redirect_uri == self.case["callback"]

    def get_realms(self, *args):
        return []

    def _yes(self, *args, **more):
        return True

    validate_client_key = validate_request_token = validate_access_token = _yes
    validate_requested_realms = validate_realms = check_realms = _yes

    def _nothing(self, *args, **more):
        return None

    save_request_token = save_access_token = invalidate_request_token = _nothing
    get_default_realms = get_realms


def judge(case):
    asked = (case["url"], case["method"], case.get("body") or None, case["headers"])
    validator = Validator(case)
    try:
        if case["endpoint"] == "resource":
            good, request = ResourceEndpoint(validator).validate_protected_resource_request(*asked)
            return {"ok": good, "realm": request.realm if good else None}
        kind = {"temporary": RequestTokenEndpoint, "token": AccessTokenEndpoint}[case["endpoint"]]
        make = {"temporary": "create_request_token_response", "token": "create_access_token_response"}
        _, body, status = getattr(kind(validator), make[case["endpoint"]])(*asked)
        return {"ok": status == 200, "status": status, "body": body or ""}
    except Exception as error:  # whatever the library refuses, however it says so
        return {"ok": False, "error": f"{type(error).__name__}: {error}"}


json.dump([judge(case) for case in json.load(sys.stdin)], sys.stdout)
