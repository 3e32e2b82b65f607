// For pages of other origins: opens a connect session in a window and waits for its result.
//
//   import { connect } from "https://keys.example.com/connect.js";
//   button.addEventListener("click", async () => {
//     const result = await connect(fetch("/connect", { method: "POST" }).then((answer) => answer.text()));
//     // { connect_session, credential, connector, end_user }
//   });
//
// Give it the session's `url`, or a promise of it: the window opens at once, while the click still counts, so that no
// browser takes it for an advertisement. The page must not be served with `Cross-Origin-Opener-Policy: same-origin`.
// What it tells is for the eye; your server learns it for certain from the webhook `credential.connected`.

/** Why there is no result: `blocked` (no window), `closed` (by the person), `failed` (there was no url). */
export class ConnectError extends Error {
  constructor(code, message) {
    super(message);
    this.name = "ConnectError";
    this.code = code;
  }
}

function popup() {
  const [width, height] = [560, 760];
  const left = Math.max(0, window.screenX + (window.outerWidth - width) / 2);
  const top = Math.max(0, window.screenY + (window.outerHeight - height) / 3);
  return window.open("about:blank", "_blank", `popup,width=${width},height=${height},left=${left},top=${top}`);
}

/** Where this file came from: results are taken from there alone. */
const HOME = new URL(import.meta.url).origin;

export function connect(session) {
  const opened = popup();
  if (!opened) return Promise.reject(new ConnectError("blocked", "The browser did not open a window."));
  return new Promise((resolve, reject) => {
    let watch = 0;
    const end = (settle, value) => {
      clearInterval(watch);
      removeEventListener("message", heard);
      settle(value);
    };
    const heard = (event) => {
      if (event.origin !== HOME || event.source !== opened) return;
      const { source, type, ...result } = event.data ?? {};
      if (source !== "latchstring" || type !== "connected") return;
      end(resolve, result);
      opened.close();
    };
    addEventListener("message", heard);
    const gone = new ConnectError("closed", "The window was closed before anything was connected.");
    // A provider's page may cut the window off from this one, and then it looks closed: the server knows better.
    const ask = async (url) => {
      const { source, type, ...result } = await fetch(`${url}/result`).then((answer) => answer.json());
      if (source !== "latchstring") end(reject, gone);
      else if (type === "connected") end(resolve, result);
      else if (type === "signing_in") setTimeout(() => ask(url).catch(() => end(reject, gone)), 2000);
      else end(reject, gone);
    };
    Promise.resolve(session).then(
      (url) => {
        // Nobody is sent elsewhere than to the server that this file came from.
        if (new URL(url).origin !== HOME) throw new TypeError("The session's url is not of this server.");
        opened.location.replace(url);
        watch = setInterval(() => {
          if (!opened.closed) return;
          clearInterval(watch);
          ask(url).catch(() => end(reject, gone));
        }, 400);
      },
    ).catch((error) => {
      opened.close();
      end(reject, new ConnectError("failed", String(error?.message ?? error)));
    });
  });
}
