// Verifies signed tokens with jose.
//
// Reads [{"token", "alg", "pem" (a public key or a certificate) | "secret_hex"}] on standard input and writes as many
// {"ok": true, "header", "claims"} or {"ok": false, "error"}. Times in claims are not judged.

import { compactVerify, importSPKI, importX509 } from 'jose';

async function verify({ token, alg, pem, secret_hex: secret }) {
  try {
    const read = pem?.includes('BEGIN CERTIFICATE') ? importX509 : importSPKI;
    const key = secret === undefined ? await read(pem, alg) : Buffer.from(secret, 'hex');
    const { payload, protectedHeader } = await compactVerify(token, key, { algorithms: [alg] });
    return { ok: true, header: protectedHeader, claims: JSON.parse(new TextDecoder().decode(payload)) };
  } catch (error) {
    return { ok: false, error: `${error.code ?? error.name}: ${error.message}` };
  }
}

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const cases = JSON.parse(Buffer.concat(chunks).toString());
process.stdout.write(JSON.stringify(await Promise.all(cases.map(verify))));
