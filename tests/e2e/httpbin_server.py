"""httpbin on a free loopback port, for tests.

Prints one line of JSON, {"url": …}, when it takes requests; exits when its standard input closes.
"""

import json
import os
import sys
import threading

from httpbin import app
from waitress.server import create_server


def end_with_parent():
    sys.stdin.buffer.read()
    os._exit(0)


server = create_server(app, host="127.0.0.1", port=0, threads=16, connection_limit=2000, backlog=1024)
threading.Thread(target=end_with_parent, daemon=True).start()
print(json.dumps({"url": f"http://127.0.0.1:{server.effective_port}"}), flush=True)
server.run()
