// A product's own server, as small as it can be: it asks Latchstring for a connect session, and hears of the result by a
// signed webhook. Nothing to install: node examples/embed/server.mjs
//
//   LATCHSTRING_URL         where Latchstring is, such as http://127.0.0.1:5282
//   LATCHSTRING_API_KEY     of a service account of the project (see README.md)
//   PROJECT, CONNECTORS     a slug; ids, comma-separated
//   WEBHOOK_SECRET          whsec_…, shown once when the webhook is made; optional
//   PORT                    0: a free one
//   HOST                    the name that this machine's browsers call it by

import { createHmac, timingSafeEqual } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

const { LATCHSTRING_URL, LATCHSTRING_API_KEY, PROJECT = "acme", CONNECTORS = "sandbox", WEBHOOK_SECRET } = process.env;
const { PORT = "3000", HOST = "127.0.0.1" } = process.env;

const file = (name) => readFile(new URL(name, import.meta.url), "utf8");
let origin;

/** Who has signed in to this product: a real one looks at its own session here. */
const customer = () => ({ id: "customer-17", tags: { plan: "pro" } });

async function session() {
  const answer = await fetch(`${LATCHSTRING_URL}/api/v1/connect-sessions`, {
    method: "POST",
    headers: { Authorization: `Bearer ${LATCHSTRING_API_KEY}`, "Content-Type": "application/json" },
    body: JSON.stringify({
      project: PROJECT,
      connectors: CONNECTORS.split(","),
      end_user: customer(),
      return_origin: origin,
    }),
  });
  const body = await answer.json();
  if (!answer.ok) throw new Error(`${answer.status} ${body.detail} ${JSON.stringify(body.errors ?? [])}`);
  return body.url;
}

/** As docs/notifications.md has it. */
function signed(headers, body) {
  const [id, at] = [headers["webhook-id"], headers["webhook-timestamp"]];
  if (!WEBHOOK_SECRET || Math.abs(Date.now() / 1000 - Number(at)) > 300) return false;
  const key = Buffer.from(WEBHOOK_SECRET.replace(/^whsec_/, ""), "base64");
  const wanted = createHmac("sha256", key).update(`${id}.${at}.${body}`).digest();
  return String(headers["webhook-signature"]).split(" ").some((one) => {
    const given = Buffer.from(one.replace(/^v1,/, ""), "base64");
    return given.length === wanted.length && timingSafeEqual(given, wanted);
  });
}

async function read(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

async function answer(request, response) {
  const send = (status, kind, text) => response.writeHead(status, { "Content-Type": kind }).end(text);
  const at = `${request.method} ${request.url}`;
  if (at === "GET /") {
    const page = await file("page.html");
    return send(200, "text/html; charset=utf-8", page.replaceAll("{latchstring}", LATCHSTRING_URL));
  }
  if (at === "GET /page.js") return send(200, "text/javascript; charset=utf-8", await file("page.js"));
  if (at === "POST /connect") {
    // Other sites must not make sessions in this customer's name.
    if (request.headers.origin !== origin) return send(403, "text/plain", "From elsewhere.");
    return send(200, "text/plain", await session());
  }
  if (at === "POST /hook") {
    const body = await read(request);
    if (!signed(request.headers, body)) return send(401, "text/plain", "Not signed.");
    const { type, data } = JSON.parse(body);
    console.log(`${type}: ${data.credential.id} for ${data.end_user?.id}`);
    return send(204, "text/plain", "");
  }
  return send(404, "text/plain", "Nothing here.");
}

const server = createServer((request, response) => {
  answer(request, response).catch((error) => {
    console.error(String(error));
    response.writeHead(502, { "Content-Type": "text/plain" }).end("Latchstring gave no session.");
  });
});
server.listen(Number(PORT), "127.0.0.1", () => {
  origin = `http://${HOST}:${server.address().port}`;
  console.log(`The example listens on ${origin}`);
});
