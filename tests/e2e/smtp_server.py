"""aiosmtpd, a real mail server, on a loopback port, for tests.

    python smtp_server.py '{"folder": …, "port": 0, "mode": "plain" | "starttls" | "tls",
                            "key": PEM file, "cert": PEM file, "user": …, "password": …,
                            "auth": ["PLAIN", "LOGIN"], "answers": {"RCPT": […], "DATA": […]}, "hold": true}'

Prints one line of JSON, {"port": …}, when it takes connections; exits when its standard input closes. Every mail
that it took is a JSON file in the folder, as Python's email package reads it. `answers` are given to the first
commands of that name instead of its own; with `hold` it takes the first mail and never answers.
"""

import asyncio
import email
import email.policy
import json
import os
import ssl
import sys
import threading

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

given = json.loads(sys.argv[1])
answers = {name: list(texts) for name, texts in given.get("answers", {}).items()}
state = {"count": 0, "hold": given.get("hold", False)}


def authenticate(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword)
    good = good and data.login.decode() == given["user"] and data.password.decode() == given["password"]
    session.who = f"{mechanism} {data.login.decode()}" if good else None
    return AuthResult(success=good, handled=good)


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if answers.get("RCPT"):
            return answers["RCPT"].pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if answers.get("DATA"):
            return answers["DATA"].pop(0)
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        state["count"] += 1
        kept = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "hello": session.host_name,
            "tls": session.ssl is not None or server.transport.get_extra_info("ssl_object") is not None,
            "auth": getattr(session, "who", None),
            "headers": {name: str(value) for name, value in mail.items()},
            "body": mail.get_content(),
            "defects": [str(defect) for part in mail.walk() for defect in part.defects],
            "ascii": envelope.content.isascii(),
        }
        path = os.path.join(given["folder"], f"{os.getpid()}-{state['count']:04}")
        with open(f"{path}.part", "w") as file:
            json.dump(kept, file)
        os.rename(f"{path}.part", f"{path}.json")
        if state["hold"]:
            state["hold"] = False
            await asyncio.sleep(3600)
        return "250 taken"


def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(given["cert"], given["key"])
    return made


def server():
    mode = given.get("mode", "plain")
    tls = {"tls_context": context(), "require_starttls": True} if mode == "starttls" else {}
    auth = {}
    if "user" in given:
        offered = given.get("auth", ["PLAIN", "LOGIN"])
        auth = {
            "authenticator": authenticate,
            "auth_required": True,
            "auth_require_tls": mode == "starttls",
            "auth_exclude_mechanism": [name for name in ("PLAIN", "LOGIN") if name not in offered],
        }
    return SMTP(Handler(), hostname="mail.test", **tls, **auth)


async def main():
    secure = context() if given.get("mode") == "tls" else None
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(server, "127.0.0.1", given.get("port", 0), ssl=secure)
    print(json.dumps({"port": listening.sockets[0].getsockname()[1]}), flush=True)
    await listening.serve_forever()


def end_with_parent():
    sys.stdin.buffer.read()
    os._exit(0)


threading.Thread(target=end_with_parent, daemon=True).start()
asyncio.run(main())
