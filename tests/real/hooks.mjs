// For programs of Node's that can't be told either: a server listens on the loopback alone, and every request shows
// the bearer token in TOLLBOOK_TOKEN.
import diagnostics from 'node:diagnostics_channel';
import net from 'node:net';

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port, ...rest) {
  const said = typeof rest[0] === 'string' || typeof port === 'object';
  return said ? listen.call(this, port, ...rest) : listen.call(this, port, '127.0.0.1', ...rest);
};

const token = process.env.TOLLBOOK_TOKEN;
if (token) {
  const bearer = `Bearer ${token}`;
  diagnostics.subscribe('undici:request:create', ({ request }) => request.addHeader('authorization', bearer));
  diagnostics.subscribe('http.client.request.created', ({ request }) => request.setHeader('authorization', bearer));
}
