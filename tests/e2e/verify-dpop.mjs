// Verifies DPoP proofs (RFC 9449) with jose: reads [{proof}] on standard input, writes as many
// {ok, header, claims, thumbprint} or {ok: false, error}.

import { EmbeddedJWK, calculateJwkThumbprint, jwtVerify } from 'jose';

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const answers = [];
for (const { proof } of JSON.parse(Buffer.concat(chunks).toString())) {
  try {
    const { payload, protectedHeader } = await jwtVerify(proof, EmbeddedJWK, {
      typ: 'dpop+jwt',
      algorithms: ['ES256'],
      requiredClaims: ['jti', 'htm', 'htu', 'iat'],
    });
    const thumbprint = await calculateJwkThumbprint(protectedHeader.jwk);
    answers.push({ ok: true, header: protectedHeader, claims: payload, thumbprint });
  } catch (error) {
    answers.push({ ok: false, error: error.message });
  }
}
process.stdout.write(JSON.stringify(answers));
