// Verifies deliveries with the library `standardwebhooks`: reads [{secret, headers, body}] on standard input,
// writes as many {ok, payload} or {ok: false, error}.

import { Webhook } from 'standardwebhooks';

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const answers = JSON.parse(Buffer.concat(chunks).toString()).map(({ secret, headers, body }) => {
  try {
    return { ok: true, payload: new Webhook(secret).verify(body, headers) };
  } catch (error) {
    return { ok: false, error: error.message };
  }
});
process.stdout.write(JSON.stringify(answers));
