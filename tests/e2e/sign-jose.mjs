// Makes key pairs and signs claims with jose.
//
// Reads {"alg", "claims", "private_pem"?} on standard input; without a key it makes one.
// Writes {"token", "private_pem", and for a new key "public_jwk", "public_pem"}.

import { SignJWT, exportJWK, exportPKCS8, exportSPKI, generateKeyPair, importPKCS8 } from 'jose';

async function freshKey(alg) {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  return {
    private_pem: await exportPKCS8(privateKey),
    public_jwk: { ...(await exportJWK(publicKey)), alg, use: 'sig' },
    public_pem: await exportSPKI(publicKey),
  };
}

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const { alg, claims, private_pem: given } = JSON.parse(Buffer.concat(chunks).toString());
const key = given === undefined ? await freshKey(alg) : { private_pem: given };
const signer = new SignJWT(claims).setProtectedHeader({ alg, typ: 'JWT' });
const token = await signer.sign(await importPKCS8(key.private_pem, alg));
process.stdout.write(JSON.stringify({ token, ...key }));
