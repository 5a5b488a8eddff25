// Servers in Node, as its documentation has them: node thinking.js JSON
//
//   hosts, port, tlsPort (0: none), cert, key   where, and with what
//   kind    "http": its http server; "net": a plain one, which ends with its client; "net-half-open": one that does not
//   thinks  milliseconds until a request is answered
//   answer  the file that is the answer
"use strict";
const fs = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const net = require("node:net");
const tls = require("node:tls");

const { hosts, port, tlsPort, cert, key, kind, thinks, answer } = JSON.parse(process.argv[2]);
const body = fs.readFileSync(answer);
const secure = tlsPort ? { cert: fs.readFileSync(cert), key: fs.readFileSync(key) } : {};

const respond = (request, response) => setTimeout(() => response.end(body), thinks);
const converse = (socket) => {
  socket.on("error", () => {});
  socket.once("data", () => setTimeout(() => socket.end(body), thinks));
};
const options = { allowHalfOpen: kind === "net-half-open" };

for (const host of hosts) {
  const clear = kind === "http" ? http.createServer(respond) : net.createServer(options, converse);
  clear.listen(port, host);
  if (!tlsPort) continue;
  const both = { ...options, ...secure };
  const secured = kind === "http" ? https.createServer(both, respond) : tls.createServer(both, converse);
  secured.on("tlsClientError", () => {});
  secured.listen(tlsPort, host);
}
