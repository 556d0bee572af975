// An OpenID provider for the tests: the certified one of npm, with its own pages to sign in and to consent.
// Prints its port, obeys POST /control, and ends with its standard input.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

// Its advice for production goes nowhere: whoever reads the port does not read on.
console.info = () => {};

const [redirectUri, secret] = process.argv.slice(2);
const accounts = new Map();
const seen = { jwks: 0, discovery: 0 };
let settings = { host: '127.0.0.1', inToken: false, key: newKey(), published: null, authMethod: 'client_secret_basic' };
let port;
let handler;

function newKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), alg: 'RS256', use: 'sig' };
}

// A new provider at the same place; sessions, codes and tokens outlive the change.
function restart() {
  const provider = new Provider(`http://${settings.host}:${port}`, {
    jwks: { keys: [settings.key] },
    clients: [{
      client_id: 'tollgate',
      client_secret: secret,
      redirect_uris: [redirectUri],
      token_endpoint_auth_method: settings.authMethod,
    }],
    clientAuthMethods: [settings.authMethod],
    claims: { email: ['email', 'email_verified'], profile: ['name'], groups: ['groups'] },
    conformIdTokenClaims: !settings.inToken,
    cookies: { keys: ['only for tests'] },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...accounts.get(id) }) }),
  });
  provider.on('server_error', (_, error) => console.error(error));
  handler = provider.callback();
}

function publicHalf({ kty, n, e, kid, alg, use }) {
  return { kty, n, e, kid, alg, use };
}

const orders = {
  account: ({ login, claims }) => accounts.set(login, claims),
  // From now on tokens are signed with a new key, which is published.
  rotate: () => { settings.key = newKey(); },
  // From now on tokens are signed with a new key, while the old one is published.
  forge: () => { settings.published = publicHalf(settings.key); settings.key = newKey(); },
  settings: (changes) => { settings = { ...settings, ...changes }; },
  seen: () => {},
};

const server = createServer(async (request, response) => {
  if (request.url === '/control') {
    let text = '';
    for await (const part of request) text += part;
    const { order, ...details } = JSON.parse(text);
    orders[order](details);
    if (order !== 'account' && order !== 'seen') restart();
    response.setHeader('content-type', 'application/json');
    return response.end(JSON.stringify(seen));
  }
  if (request.url === '/jwks') seen.jwks += 1;
  if (request.url.startsWith('/.well-known/')) seen.discovery += 1;
  if (request.url === '/jwks' && settings.published) {
    response.setHeader('content-type', 'application/jwk-set+json');
    return response.end(JSON.stringify({ keys: [settings.published] }));
  }
  return handler(request, response);
});

server.listen(0, '127.0.0.1', () => {
  port = server.address().port;
  restart();
  console.log(`listening on ${port}`);
});
process.stdin.on('end', () => process.exit(0)).resume();
