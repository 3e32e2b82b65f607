"""An OAuth 1.0a provider and API on a free loopback port, made of oauthlib's endpoints, for tests.

    python oauth1_server.py '{"consumer_secret", "public_key", "settings": {…}}'

Prints one line of JSON, {"url": …}, when it takes requests; exits when its standard input closes. Everything is judged
as RFC 5849 wants it: signatures, timestamps, nonces (each once), the callback, the verifier, temporary credentials once.

    POST /initiate     temporary credentials, for the callbacks that are registered
    GET  /authorize    signs `alice` in and consents (or refuses, see `person_says`), back to the callback
    POST /token        the token credentials
    ANY  /resource     wants a signed request; answers {sub, method, body}
    GET  /me           the same: {"name": …}
    POST /admin/settings, GET and POST /admin/counts, GET /admin/seen, POST /admin/revoke (all tokens)
"""

import json
import secrets
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

from oauthlib.oauth1 import (
    AccessTokenEndpoint,
    AuthorizationEndpoint,
    RequestTokenEndpoint,
    RequestValidator,
    ResourceEndpoint,
)
from oauthlib.oauth1.rfc5849.errors import OAuth1Error

CONSUMER = "latchstring"
given = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
settings = {
    "callbacks": [],  # the redirect URIs that are registered
    "person": "alice",
    "person_says": "yes",  # no: without a verifier; denied: as some say it; problem: as others do
    "skew": 0,  # seconds that this server's clock is off
    "fail_next": [],  # [[path, status, body]]: answers to the next request of that path, which is not worked on
    "lose_next": 0,  # so many token requests are worked on and then answered by a closed connection
    "unconfirmed": False,  # a provider of OAuth 1.0, without the callback's confirmation
    "same_token": "",  # temporary credentials are always these
    **given.get("settings", {}),
}
counts, seen, nonces = {}, [], set()
temporary, tokens = {}, {}
lock = threading.Lock()


class Validator(RequestValidator):
    enforce_ssl = False
    allowed_signature_methods = ("HMAC-SHA1", "HMAC-SHA256", "RSA-SHA256", "PLAINTEXT")
    timestamp_lifetime = 60
    dummy_client = dummy_request_token = dummy_access_token = "dummy"
    realms = []

    def __init__(self):
        super().__init__()
        for name in ("client_key", "request_token", "access_token", "nonce", "verifier"):
            setattr(self, f"check_{name}", bool)

    def validate_timestamp_and_nonce(self, client_key, timestamp, nonce, request, **more):
        key = (client_key, timestamp, nonce, more.get("request_token"), more.get("access_token"))
        with lock:
            if key in nonces or abs(time.time() + settings["skew"] - int(timestamp)) > self.timestamp_lifetime:
                return False
            nonces.add(key)
            return True

    def validate_client_key(self, client_key, request):
        return client_key == CONSUMER

    def get_client_secret(self, client_key, request):
        return given.get("consumer_secret", "")

    def get_rsa_key(self, client_key, request):
        return given.get("public_key")

    def validate_request_token(self, client_key, token, request):
        return token in temporary

    def get_request_token_secret(self, client_key, token, request):
        return temporary[token]["secret"] if token in temporary else ""

    def verify_request_token(self, token, request):
        return token in temporary

    def validate_access_token(self, client_key, token, request):
        return token in tokens

    def get_access_token_secret(self, client_key, token, request):
        return tokens[token]["secret"] if token in tokens else ""

    def validate_redirect_uri(self, client_key, redirect_uri, request):
        return redirect_uri in settings["callbacks"]

    def get_redirect_uri(self, token, request):
        return temporary[token]["callback"]

    def save_verifier(self, token, verifier, request):
        temporary[token]["verifier"] = verifier["oauth_verifier"]

    def validate_verifier(self, client_key, token, verifier, request):
        return bool(verifier) and temporary.get(token, {}).get("verifier") == verifier

    def save_request_token(self, token, request):
        if settings["same_token"]:
            token["oauth_token"] = settings["same_token"]
        temporary[token["oauth_token"]] = {"secret": token["oauth_token_secret"], "callback": request.redirect_uri}

    def save_access_token(self, token, request):
        tokens[token["oauth_token"]] = {"secret": token["oauth_token_secret"], "person": settings["person"]}

    def invalidate_request_token(self, client_key, request_token, request):
        temporary.pop(request_token, None)

    def get_realms(self, *args):
        return []

    get_default_realms = get_realms

    def yes(self, *args, **more):
        return True

    validate_requested_realms = validate_realms = check_realms = verify_realms = yes


validator = Validator()
request_token = RequestTokenEndpoint(validator)
authorization = AuthorizationEndpoint(validator)
access_token = AccessTokenEndpoint(validator)
resource = ResourceEndpoint(validator)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def reply(self, status, body="", headers=None):
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def work(self):
        path = urlsplit(self.path).path
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        if path.startswith("/admin/"):
            return self.admin(path, body)
        with lock:
            counts[f"{self.command} {path}"] = counts.get(f"{self.command} {path}", 0) + 1
            seen.append({"path": self.path, "authorization": self.headers.get("authorization")})
            failure = next((one for one in settings["fail_next"] if one[0] == path), None)
            if failure:
                settings["fail_next"].remove(failure)
        if failure:
            return self.reply(failure[1], failure[2])
        url = f"http://{self.headers['host']}{self.path}"
        asked = (url, self.command, body or None, dict(self.headers.items()))
        try:
            if path == "/initiate":
                headers, text, status = request_token.create_request_token_response(*asked)
                if settings["unconfirmed"]:
                    text = "&".join(part for part in text.split("&") if "confirmed" not in part)
                if settings["same_token"] and status == 200:
                    pairs = {name: values[0] for name, values in parse_qs(text).items()}
                    text = urlencode({**pairs, "oauth_token": settings["same_token"]})
                return self.reply(status, text or "", headers)
            if path == "/authorize":
                return self.authorize(asked)
            if path == "/token":
                headers, text, status = access_token.create_access_token_response(*asked)
                if settings["lose_next"] > 0:
                    settings["lose_next"] -= 1
                    self.close_connection = True
                    return self.connection.close()
                if status == 200:
                    text += "&" + urlencode({"user_id": "7", "screen_name": settings["person"]})
                return self.reply(status, text or "", headers)
            if path in ("/resource", "/me"):
                good, request = resource.validate_protected_resource_request(*asked)
                if not good:
                    return self.reply(401, {"error": "unauthorized"}, {"www-authenticate": "OAuth"})
                person = tokens[request.resource_owner_key]["person"]
                if path == "/me":
                    return self.reply(200, {"name": person})
                return self.reply(200, {"sub": person, "method": self.command, "body": body})
        except OAuth1Error as error:
            return self.reply(error.status_code, error.urlencoded)
        return self.reply(404)

    def authorize(self, asked):
        _, credentials = authorization.get_realms_and_credentials(*asked)
        token = credentials["resource_owner_key"]
        says = settings["person_says"]
        callback = temporary[token]["callback"]
        join = "&" if "?" in callback else "?"
        if says == "denied":
            return self.reply(302, "", {"location": f"{callback}{join}{urlencode({'denied': token})}"})
        if says == "problem":
            query = urlencode({"oauth_token": token, "oauth_problem": "user_refused"})
            return self.reply(302, "", {"location": f"{callback}{join}{query}"})
        if says == "no":
            return self.reply(302, "", {"location": f"{callback}{join}{urlencode({'oauth_token': token})}"})
        headers, text, status = authorization.create_authorization_response(*asked, realms=[])
        location = {name.lower(): value for name, value in headers.items()}
        return self.reply(status, text or "", location)

    def admin(self, path, body):
        with lock:
            if path == "/admin/settings":
                settings.update(json.loads(body))
            elif path == "/admin/counts" and self.command == "POST":
                counts.clear()
                seen.clear()
            elif path == "/admin/seen":
                return self.reply(200, seen)
            elif path == "/admin/revoke":
                tokens.clear()
            elif path == "/admin/grant":
                token, secret = secrets.token_urlsafe(8), secrets.token_urlsafe(8)
                tokens[token] = {"secret": secret, "person": settings["person"]}
                return self.reply(200, {"access_token": token, "token_secret": secret})
            return self.reply(200, counts)

    do_GET = do_POST = do_PUT = work


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
print(json.dumps({"url": f"http://127.0.0.1:{server.server_address[1]}"}), flush=True)
sys.stdin.read()
