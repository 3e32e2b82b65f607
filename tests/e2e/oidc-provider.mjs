// A certified OAuth 2 / OpenID Connect server on a free loopback port, for tests.
//
//   node oidc-provider.mjs '{"clients": […], "settings": {…}, "tls": {"key", "cert", "ca"}, "pages": true}'
//
// With `tls` (PEM) it is https://localhost:…, and asks for a client certificate (RFC 8705). With `pages` people sign in
// and consent on the package's own pages, in a browser; without them nobody has to press anything.
//
// Prints one line of JSON, {"issuer": …}, when it takes requests; exits when its standard input closes.
//
// Besides the server's own endpoints (see /.well-known/openid-configuration) there are:
//   /resource            wants an access token of this server, with the proof that it is bound to (DPoP,
//                        a certificate); answers {client_id, sub, scope, bound}
//   /interaction/…       signs `alice` in and consents, or refuses when login_hint is `deny`; not with `pages`
//   /admin/counts        GET: requests per "METHOD /path"; POST: back to zero
//   /admin/settings      POST: changes what `settings` below holds
//   /admin/device        POST {user_code, allow}: what the person at the other screen does
//   /admin/grant         POST {client_id, sub, scope}: an existing grant, {access_token, refresh_token}
//   /admin/end           POST: all grants end, as when everybody takes their consent back
//   /admin/client        POST: metadata of a known client that changes, such as its redirect URIs
//   /admin/rotate        POST: another signing key; the one before is published no more
//   /admin/revoke        POST {refresh_token}: the person takes the consent back

import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { X509Certificate, createHash, createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { EmbeddedJWK, SignJWT, calculateJwkThumbprint, createLocalJWKSet, decodeJwt, importJWK, jwtVerify } from 'jose';

// The package's hints for production say nothing here; some come when it is loaded.
console.warn = () => {};
console.info = () => {};
const { Provider, errors } = await import('oidc-provider');

const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const given = JSON.parse(process.argv[2] ?? '{}');

const settings = {
  access_token_ttl: 3600,
  refresh_token_ttl: 14 * 24 * 3600,
  rotate: true, // a used refresh token that comes again ends the whole grant
  pkce_required: false,
  dpop_nonces: false, // DPoP proofs need a nonce; the resource wants one of its own, good once
  spoil_nonce: false, // the resource forgets the nonce that it gave last
  delay_ms: 0, // before a token request is worked on
  fail_next: [], // [{status, body, headers?}]: answers to the next token requests, not worked on
  person: 'alice', // who signs in
  email: '', // everybody's, instead of one each
  claims: {}, // about everybody, beside address and subject: name, groups, …; at userinfo
  userinfo_sub: '', // whom userinfo speaks of, instead of who signed in
  id_claims: {}, // put into every ID token, in place of what stands there; signed as it should be
  id_signature: '', // none | hmac | foreign: how ID tokens are signed instead of as they should be
  withhold_refresh: false, // a consent brings no refresh token
  resource_delay_ms: 0, // before the resource answers
  resources: [], // APIs that tokens may be asked for (RFC 8707); none: `resource` means nothing
  reject_scope: '', // scopes that the person unticks at the consent page
  lose_next: 0, // so many token requests are worked on and then answered by a closed connection
  ...given.settings,
};

const counts = {};
const grantKeys = new Map();
const records = new Map();
const byUserCode = new Map();
const byUid = new Map();

// Keeps everything until the process ends; the package's own forgets after a thousand entries.
class Memory {
  constructor(model) {
    this.model = model;
  }

  key(id) {
    return `${this.model}:${id}`;
  }

  async upsert(id, payload) {
    const key = this.key(id);
    records.set(key, payload);
    if (payload.userCode) byUserCode.set(payload.userCode, id);
    if (payload.uid) byUid.set(`${this.model}:${payload.uid}`, id);
    if (payload.grantId) {
      if (!grantKeys.has(payload.grantId)) grantKeys.set(payload.grantId, new Set());
      grantKeys.get(payload.grantId).add(key);
    }
  }

  async find(id) {
    return records.get(this.key(id));
  }

  async findByUid(uid) {
    return this.find(byUid.get(`${this.model}:${uid}`));
  }

  async findByUserCode(code) {
    return this.find(byUserCode.get(code));
  }

  async consume(id) {
    records.get(this.key(id)).consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    records.delete(this.key(id));
  }

  async revokeByGrantId(grantId) {
    for (const key of grantKeys.get(grantId) ?? []) records.delete(key);
    grantKeys.delete(grantId);
  }
}

function certificateOf(req) {
  const raw = req.socket.getPeerCertificate?.()?.raw;
  return raw && new X509Certificate(raw);
}

const sha256 = (data) => createHash('sha256').update(data).digest('base64url');

function clients() {
  const all = ['authorization_code', 'refresh_token', 'client_credentials', 'urn:ietf:params:oauth:grant-type:device_code'];
  return given.clients ?? [{
    client_id: 'latchstring',
    client_secret: 'a-test-secret-that-guards-nothing',
    redirect_uris: ['http://127.0.0.1/callback'],
    grant_types: all,
    scope: 'openid offline_access email profile groups read write',
  }];
}

// The key that ID tokens are signed with, and all that is published.
let signing;
function newKey(kid) {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  signing = { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid };
  return signing;
}

const publicPart = ({ kty, n, e, use, alg, kid }) => ({ kty, n, e, use, alg, kid });

// Signs an ID token anew: with other claims, another key, or in a way that nobody may believe.
async function resign(token) {
  const claims = { ...decodeJwt(token), ...settings.id_claims };
  for (const [name, value] of Object.entries(claims)) if (value === null) delete claims[name];
  const encoded = (part) => Buffer.from(JSON.stringify(part)).toString('base64url');
  switch (settings.id_signature) {
    case 'none':
      return `${encoded({ alg: 'none' })}.${encoded(claims)}.`;
    case 'hmac': {
      // The published key as an HMAC secret: what a careless library takes.
      const pem = createPublicKey({ key: publicPart(signing), format: 'jwk' }).export({ type: 'spki', format: 'pem' });
      return new SignJWT(claims).setProtectedHeader({ alg: 'HS256', kid: signing.kid }).sign(Buffer.from(pem));
    }
    case 'foreign': {
      const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
      return new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid: signing.kid }).sign(privateKey);
    }
    default:
      return new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid: signing.kid }).sign(await importJWK(signing, 'RS256'));
  }
}

// A JSON answer that is changed on its way out.
function changeAnswer(res, change) {
  const end = res.end.bind(res);
  res.end = (chunk, ...rest) => {
    let body;
    try {
      body = JSON.parse(chunk);
    } catch {
      return end(chunk, ...rest);
    }
    change(body).then((changed) => {
      const text = JSON.stringify(changed);
      res.setHeader('content-length', Buffer.byteLength(text));
      end(text);
    });
    return res;
  };
}

function configuration() {
  const jwk = newKey('test');
  return {
    adapter: Memory,
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth', 'none'],
    claims: {
      openid: ['sub'],
      email: ['email', 'email_verified'],
      profile: ['name', 'given_name', 'family_name', 'preferred_username'],
      groups: ['groups', '_claim_names'],
    },
    cookies: { keys: ['a cookie key of a test server'] },
    expiresWithSession: () => false,
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: given.pages === true },
      deviceFlow: { enabled: true },
      dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => settings.dpop_nonces },
      mTLS: {
        enabled: true,
        certificateBoundAccessTokens: true,
        tlsClientAuth: true,
        selfSignedTlsClientAuth: true,
        getCertificate: (ctx) => certificateOf(ctx.req)?.toString(),
        certificateAuthorized: (ctx) => ctx.req.socket.authorized,
        certificateSubjectMatches: (ctx, property, expected) =>
          property === 'tls_client_auth_subject_dn' && certificateOf(ctx.req).subject === expected,
      },
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true, allowedPolicy: () => true },
      resourceIndicators: {
        enabled: (given.settings?.resources ?? []).length > 0,
        defaultResource: () => undefined,
        useGrantedResource: () => true,
        getResourceServerInfo: (_ctx, resource) => {
          if (!settings.resources.includes(resource)) throw new errors.InvalidTarget();
          return { scope: 'read write', audience: resource, accessTokenFormat: 'opaque' };
        },
      },
      rpInitiatedLogout: { enabled: false },
    },
    findAccount: (_ctx, sub) => ({
      accountId: sub,
      claims: async () => ({
        sub,
        email: settings.email || `${sub}@example.com`,
        email_verified: true,
        ...settings.claims,
      }),
    }),
    ...(given.pages !== true && { interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` } }),
    issueRefreshToken: (_ctx, client) => !settings.withhold_refresh && client.grantTypeAllowed('refresh_token'),
    jwks: { keys: [jwk] },
    pkce: { required: () => settings.pkce_required },
    responseTypes: ['code'],
    rotateRefreshToken: () => settings.rotate,
    scopes: ['openid', 'offline_access', 'email', 'profile', 'groups', 'read', 'write'],
    ttl: {
      AccessToken: () => settings.access_token_ttl,
      ClientCredentials: () => settings.access_token_ttl,
      RefreshToken: () => settings.refresh_token_ttl,
      AuthorizationCode: 600,
      DeviceCode: 600,
      Grant: 14 * 24 * 3600,
      IdToken: 3600,
      Interaction: 600,
      Session: 14 * 24 * 3600,
    },
  };
}

async function makeGrant(provider, clientId, sub, scope) {
  const grant = new provider.Grant({ accountId: sub, clientId });
  if (scope) grant.addOIDCScope(scope);
  return grant.save();
}

async function accessToken(provider, client, sub, grantId, scope) {
  const token = new provider.AccessToken({ accountId: sub, client, grantId, gty: 'test', scope });
  return { value: await token.save(), expiresIn: token.expiration };
}

// RFC 7523 section 3: what an assertion must be to be worth a token.
const seenAssertions = new Set();
async function jwtBearer(provider, ctx) {
  const { client, params } = ctx.oidc;
  if (!params.assertion) throw new errors.InvalidRequest('missing required parameter(s) (assertion)');
  let claims;
  try {
    const verified = await jwtVerify(params.assertion, createLocalJWKSet(client.jwks ?? { keys: [] }), {
      issuer: client.clientId,
      audience: [provider.issuer, `${provider.issuer}/token`],
      requiredClaims: ['iss', 'sub', 'aud', 'exp'],
    });
    claims = verified.payload;
  } catch (error) {
    throw new errors.InvalidGrant(`the assertion was refused: ${error.message}`);
  }
  const digest = createHash('sha256').update(params.assertion).digest('hex');
  if (seenAssertions.has(digest)) throw new errors.InvalidGrant('the assertion was used before');
  seenAssertions.add(digest);
  const scope = params.scope ?? claims.scope;
  const grantId = await makeGrant(provider, client.clientId, claims.sub, scope);
  const token = await accessToken(provider, client, claims.sub, grantId, scope);
  ctx.body = { access_token: token.value, expires_in: token.expiresIn, token_type: 'Bearer', ...(scope && { scope }) };
}

async function text(req) {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

function json(res, status, body, headers = {}) {
  res.writeHead(status, { 'content-type': 'application/json', ...headers });
  res.end(body === undefined ? '' : JSON.stringify(body));
}

async function admin(provider, req, res, path) {
  const body = req.method === 'POST' ? JSON.parse((await text(req)) || '{}') : undefined;
  switch (`${req.method} ${path}`) {
    case 'GET /admin/counts':
      return json(res, 200, counts);
    case 'POST /admin/counts':
      for (const key of Object.keys(counts)) delete counts[key];
      return json(res, 200, {});
    case 'POST /admin/end': {
      for (const grantId of [...grantKeys.keys()]) await new Memory('Grant').revokeByGrantId(grantId);
      return json(res, 200, {});
    }
    case 'POST /admin/client': {
      Object.assign(records.get(`Client:${body.client_id}`), body);
      return json(res, 200, {});
    }
    case 'POST /admin/settings':
      Object.assign(settings, body);
      return json(res, 200, settings);
    case 'POST /admin/device': {
      const code = await provider.DeviceCode.findByUserCode(body.user_code.replace(/\W/g, ''));
      if (!code) return json(res, 404, { error: 'no such user code' });
      if (body.allow === false) {
        Object.assign(code, { error: 'access_denied', errorDescription: 'the person refused' });
      } else {
        const { scope } = code.params;
        const grantId = await makeGrant(provider, code.clientId, 'alice', scope);
        Object.assign(code, { accountId: 'alice', authTime: Math.floor(Date.now() / 1000), grantId, scope });
      }
      await code.save();
      return json(res, 200, {});
    }
    case 'POST /admin/grant': {
      const client = await provider.Client.find(body.client_id);
      const sub = body.sub ?? 'alice';
      const grantId = await makeGrant(provider, client.clientId, sub, body.scope);
      const { value, expiresIn } = await accessToken(provider, client, sub, grantId, body.scope);
      const refresh = new provider.RefreshToken({ accountId: sub, client, grantId, gty: 'authorization_code', scope: body.scope, rotations: 0 });
      return json(res, 200, { access_token: value, expires_in: expiresIn, refresh_token: await refresh.save() });
    }
    case 'POST /admin/rotate':
      return json(res, 200, publicPart(newKey(randomBytes(4).toString('hex'))));
    case 'POST /admin/revoke': {
      const refresh = await provider.RefreshToken.find(body.refresh_token, { ignoreExpiration: true });
      if (!refresh) return json(res, 404, { error: 'no such token' });
      await new Memory('Grant').revokeByGrantId(refresh.grantId);
      return json(res, 200, {});
    }
    default:
      return json(res, 404, { error: 'no such admin path' });
  }
}

// RFC 9449 section 4.3: what a proof must be, for a token that is bound to its key.
const seenProofs = new Set();
let resourceNonce = randomBytes(8).toString('hex');
async function checkProof(req, value, jkt) {
  const { payload, protectedHeader } = await jwtVerify(req.headers.dpop ?? '', EmbeddedJWK, {
    typ: 'dpop+jwt',
    algorithms: ['ES256'],
    maxTokenAge: 60,
    requiredClaims: ['jti', 'htm', 'htu', 'ath'],
  });
  const url = `http://${req.headers.host}${new URL(req.url, 'http://localhost').pathname}`;
  if (payload.htm !== req.method || payload.htu !== url) throw new Error('a proof for another request');
  if (payload.ath !== sha256(value)) throw new Error('a proof for another token');
  if ((await calculateJwkThumbprint(protectedHeader.jwk)) !== jkt) throw new Error('a proof of another key');
  if (seenProofs.has(payload.jti)) throw new Error('a proof is good once');
  seenProofs.add(payload.jti);
  return payload.nonce;
}

async function resource(provider, req, res) {
  const [, scheme, value] = /^(Bearer|DPoP) (.+)$/i.exec(req.headers.authorization ?? '') ?? [];
  if (!value) return json(res, 401, { error: 'no token' }, { 'www-authenticate': 'Bearer' });
  const token = (await provider.AccessToken.find(value)) ?? (await provider.ClientCredentials.find(value));
  if (!token) return json(res, 401, { error: 'invalid_token' }, { 'www-authenticate': `${scheme} error="invalid_token"` });
  let bound = null;
  if (token.jkt) {
    bound = 'dpop';
    let nonce;
    try {
      if (scheme.toLowerCase() !== 'dpop') throw new Error('the token is bound to a key');
      nonce = await checkProof(req, value, token.jkt);
    } catch (error) {
      return json(res, 401, { error: error.message }, { 'www-authenticate': 'DPoP error="invalid_dpop_proof"' });
    }
    if (settings.spoil_nonce) {
      settings.spoil_nonce = false;
      resourceNonce = randomBytes(8).toString('hex');
    }
    if (settings.dpop_nonces && nonce !== resourceNonce) {
      const headers = { 'www-authenticate': 'DPoP error="use_dpop_nonce"', 'dpop-nonce': resourceNonce };
      return json(res, 401, { error: 'use_dpop_nonce' }, headers);
    }
    if (settings.dpop_nonces) {
      // The next one comes with the answer.
      resourceNonce = randomBytes(8).toString('hex');
      res.setHeader('dpop-nonce', resourceNonce);
    }
  }
  if (token['x5t#S256']) {
    bound = 'certificate';
    const shown = certificateOf(req);
    if (!shown || sha256(shown.raw) !== token['x5t#S256']) return json(res, 401, { error: 'another certificate' });
  }
  const { clientId: client_id, accountId: sub, scope, aud } = token;
  return json(res, 200, { client_id, sub, scope, bound, ...(aud && { aud }) });
}

async function interaction(provider, req, res) {
  const { prompt, params, session } = await provider.interactionDetails(req, res);
  if (params.login_hint === 'deny') {
    const refusal = { error: 'access_denied', error_description: 'the person refused' };
    return provider.interactionFinished(req, res, refusal, { mergeWithLastSubmission: false });
  }
  if (prompt.name === 'login') {
    return provider.interactionFinished(req, res, { login: { accountId: settings.person } });
  }
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  const unticked = settings.reject_scope.split(' ').filter(Boolean);
  const granted = (params.scope ?? '').split(' ').filter((scope) => !unticked.includes(scope));
  grant.addOIDCScope(granted.join(' '));
  for (const resource of [params.resource ?? []].flat()) grant.addResourceScope(resource, granted.join(' '));
  if (unticked.length > 0) grant.rejectOIDCScope(unticked.join(' '));
  return provider.interactionFinished(req, res, { consent: { grantId: await grant.save() } });
}

// A JWT-bearer request needs no client authentication (RFC 7523 section 2.1); the package wants to know the client.
async function nameTheClient(req) {
  const raw = await text(req);
  const params = new URLSearchParams(raw);
  if (params.get('grant_type') === JWT_BEARER && !params.has('client_id') && !req.headers.authorization && !params.has('client_assertion')) {
    try {
      params.set('client_id', decodeJwt(params.get('assertion') ?? '').iss ?? '');
    } catch {
      // Left to the package, which refuses it.
    }
  }
  req.body = Object.fromEntries(params);
}

async function tokenRequest(handle, req, res) {
  if (settings.delay_ms > 0) await sleep(settings.delay_ms);
  const failure = settings.fail_next.shift();
  if (failure) {
    const { status, body, headers = {} } = failure;
    if (typeof body !== 'string') return json(res, status, body, headers);
    res.writeHead(status, headers);
    return res.end(body);
  }
  if (settings.lose_next > 0) {
    settings.lose_next -= 1;
    res.writeHead = () => res;
    res.write = () => true;
    res.end = () => req.socket.destroy();
  }
  await nameTheClient(req);
  changeAnswer(res, async (body) => (body.id_token ? { ...body, id_token: await resign(body.id_token) } : body));
  return handle(req, res);
}

let provider;
let handle;
const tls = given.tls && { ...given.tls, requestCert: true, rejectUnauthorized: false };
const server = (tls ? createTlsServer : createServer)(tls ?? {}, async (req, res) => {
  // The same server once more, below another path.
  if (req.url.startsWith('/v2/')) req.url = req.url.slice(3);
  const { pathname } = new URL(req.url, 'http://localhost');
  try {
    if (pathname.startsWith('/admin/')) return await admin(provider, req, res, pathname);
    const what = `${req.method} ${pathname.startsWith('/interaction/') ? '/interaction' : pathname}`;
    counts[what] = (counts[what] ?? 0) + 1;
    if (pathname === '/resource' && settings.resource_delay_ms > 0) await sleep(settings.resource_delay_ms);
    if (pathname === '/resource') return await resource(provider, req, res);
    if (what === 'GET /me' && settings.userinfo_sub) {
      changeAnswer(res, async (body) => ({ ...body, sub: settings.userinfo_sub }));
    }
    if (what === 'GET /jwks') return json(res, 200, { keys: [publicPart(signing)] });
    if (pathname.startsWith('/interaction/') && given.pages !== true) return await interaction(provider, req, res);
    if (what === 'POST /token') return await tokenRequest(handle, req, res);
    return await handle(req, res);
  } catch (error) {
    process.stderr.write(`${error.stack}\n`);
    if (!res.headersSent) json(res, 500, { error: 'server_error', error_description: error.message });
    return undefined;
  }
});

server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  const issuer = tls ? `https://localhost:${port}` : `http://127.0.0.1:${port}`;
  provider = new Provider(issuer, configuration());
  for (const client of clients()) records.set(`Client:${client.client_id}`, client);
  provider.registerGrantType(JWT_BEARER, (ctx) => jwtBearer(provider, ctx), ['assertion', 'scope']);
  provider.on('server_error', (_ctx, error) => process.stderr.write(`${error.stack}\n`));
  handle = provider.callback();
  process.stdout.write(`${JSON.stringify({ issuer })}\n`);
});
process.stdout.on('error', () => process.exit(0));
process.stdin.on('end', () => process.exit(0)).resume();
