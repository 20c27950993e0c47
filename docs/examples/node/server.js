"use strict";
// HTTP, the upgrade to the WebSocket, and the way out. PORT, LOAD_PASSWORD (seeds users to test with) and SESSION_SECRET are variables.
const crypto = require("node:crypto");
const http = require("node:http");
const { WebSocketServer } = require("ws");
const { Client } = require("./client");
const { Hub } = require("./hub");
const { STATUSES, Store } = require("./store");

const COOKIE = "better-auth.session_token";
const CONNECTIONS = 1000;
const BODY = 64 * 1024;
const PORT = Number(process.env.PORT || 3000);

const store = new Store(process.env.SESSION_SECRET || crypto.randomBytes(32));
const hub = new Hub();
let stopping = false;

class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

// -- who asks

function caller(request) {
  const pairs = (request.headers.cookie || "").split(";").map((pair) => pair.trim());
  const own = pairs.find((pair) => pair.startsWith(`${COOKIE}=`));
  const session = own && store.session(own.slice(COOKIE.length + 1).replace(/^"(.*)"$/, "$1"));
  if (!session) throw new Refused(401, "sign in first");
  return { session, sessionId: session.id, userId: session.userId, user: store.users.get(session.userId) };
}

function admin(request) {
  const who = caller(request);
  if (who.user.role !== "admin") throw new Refused(403, "only administrators may do this");
  return who;
}

// -- what is asked

async function body(request) {
  const parts = [];
  let size = 0;
  for await (const part of request) {
    size += part.length;
    if (size > BODY) throw new Refused(413, "too much");
    parts.push(part);
  }
  try {
    const read = JSON.parse(Buffer.concat(parts).toString() || "{}");
    if (read !== null && typeof read === "object" && !Array.isArray(read)) return read;
  } catch {
    // told below
  }
  throw new Refused(400, "the body has to be a JSON object");
}

function feature(id) {
  const found = store.features.get(id);
  if (!found) throw new Refused(404, "there is no such feature");
  return found;
}

function checked(given, needed) {
  const wanted = {};
  for (const key of ["title", "description", "status"]) {
    if (given[key] === undefined && !needed.includes(key)) continue;
    const fits = typeof given[key] === "string" && given[key].length <= 5000 && (key !== "status" || STATUSES.includes(given[key]));
    if (!fits || (key === "title" && !given[key])) throw new Refused(400, `${key} is missing or wrong`);
    wanted[key] = given[key];
  }
  return wanted;
}

const shown = ({ id, name, email, role }) => ({ id, name, email, role });

function vote(request, id, add) {
  const { session, user } = caller(request);
  const found = feature(id);
  if (!store.vote(found, user.id, add)) throw new Refused(409, add ? "you have voted already" : "you have not voted");
  hub.vote(found.id, found.voteCount, { userId: user.id, sessionId: session.id }, add ? "add" : "remove");
  return { featureId: found.id, voteCount: found.voteCount, hasVoted: add };
}

function end(ended) {
  for (const client of [...hub.clients]) if (ended.some((session) => session === client.session)) client.expire();
}

const ROUTES = [
  ["GET", /^\/healthz$/, () => ({ status: "ok", connections: hub.clients.size })],
  ["POST", /^\/api\/auth\/sign-in\/email$/, async (request, response) => {
    const { email, password } = await body(request);
    const session = await store.signIn(email, password);
    if (!session) throw new Refused(401, "e-mail or password is wrong");
    response.setHeader("Set-Cookie", `${COOKIE}=${store.cookie(session)}; Path=/; HttpOnly; SameSite=Lax`);
    return { user: shown(store.users.get(session.userId)) };
  }],
  ["GET", /^\/api\/auth\/get-session$/, (request) => {
    const { session, user } = caller(request);
    return { session: { id: session.id, userId: user.id }, user: shown(user) };
  }],
  ["POST", /^\/api\/auth\/sign-out$/, (request) => {
    const { session } = caller(request);
    end(store.endSessions((each) => each === session));
    return { success: true };
  }],
  ["GET", /^\/api\/roadmap\/features$/, (request) => {
    const { user } = caller(request);
    return { features: [...store.features.values()].map((each) => store.shown(each, user.id)) };
  }],
  ["GET", /^\/api\/roadmap\/features\/([^/]+)$/, (request, _, id) => {
    const { user } = caller(request);
    return store.shown(feature(id), user.id);
  }],
  ["POST", /^\/api\/roadmap\/features\/([^/]+)\/vote$/, (request, _, id) => vote(request, id, true)],
  ["DELETE", /^\/api\/roadmap\/features\/([^/]+)\/vote$/, (request, _, id) => vote(request, id, false)],
  ["POST", /^\/api\/roadmap\/features$/, async (request, response) => {
    const { user } = admin(request);
    const made = store.create(user, checked(await body(request), ["title", "description"]));
    hub.event(made.id, { type: "FEATURE_CREATED", feature: { ...made } }, true);
    response.statusCode = 201;
    return store.shown(made, user.id);
  }],
  ["PATCH", /^\/api\/roadmap\/features\/([^/]+)$/, async (request, _, id) => {
    const { user } = admin(request);
    const wanted = checked(await body(request), []);
    const found = feature(id);
    const changes = store.update(found, wanted);
    if (Object.keys(changes).length) hub.event(found.id, { type: "FEATURE_UPDATE", featureId: found.id, changes }, false);
    return store.shown(found, user.id);
  }],
  ["DELETE", /^\/api\/roadmap\/features\/([^/]+)$/, (request, _, id) => {
    admin(request);
    store.delete(feature(id));
    hub.event(id, { type: "FEATURE_DELETED", featureId: id }, true);
    return { id };
  }],
  ["POST", /^\/api\/admin\/sessions\/revoke$/, async (request) => {
    admin(request);
    const { sessionId, userId, push = true } = await body(request);
    const ended = store.endSessions((each) => (sessionId ? each.id === sessionId : each.userId === userId));
    if (!ended.length) throw new Refused(404, "there is no such session");
    if (push) end(ended);
    return { revoked: ended.map((each) => each.id) };
  }],
  ["PATCH", /^\/api\/admin\/users\/([^/]+)$/, async (request, _, id) => {
    admin(request);
    const { role } = await body(request);
    const user = store.users.get(id);
    if (!user || !["regular", "admin"].includes(role)) throw new Refused(user ? 400 : 404, "no such user or role");
    user.role = role;
    return { user: shown(user) };
  }],
];

async function answer(request, response) {
  const path = new URL(request.url, "http://server").pathname;
  let status = 200;
  let told;
  try {
    const route = ROUTES.map(([method, form, handle]) => ({ method, handle, found: form.exec(path) })).filter(({ found }) => found);
    const chosen = route.find(({ method }) => method === request.method);
    if (path === "/api/roadmap/ws") throw new Refused(426, "upgrade to a WebSocket");
    if (!chosen) throw new Refused(route.length ? 405 : 404, "there is no such call");
    told = await chosen.handle(request, response, ...chosen.found.slice(1));
    status = response.statusCode;
  } catch (error) {
    if (!(error instanceof Refused)) console.error(error);
    status = error.status || 500;
    told = { message: error instanceof Refused ? error.message : "the server failed" };
  }
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(told));
}

// -- the socket

const sockets = new WebSocketServer({ noServer: true, maxPayload: 64 * 1024, perMessageDeflate: false });
const server = http.createServer(answer);

server.on("upgrade", (request, socket, head) => {
  try {
    if (new URL(request.url, "http://server").pathname !== "/api/roadmap/ws") throw new Refused(404, "Not Found");
    const { session, user } = caller(request);
    const origin = request.headers.origin;
    if (origin && new URL(origin).host !== request.headers.host) throw new Refused(403, "Forbidden");
    if (stopping || hub.clients.size >= CONNECTIONS) throw new Refused(503, "Service Unavailable");
    sockets.handleUpgrade(request, socket, head, (ws) => new Client(ws, session, user, store, hub));
  } catch (error) {
    const status = error.status || 400;
    socket.on("error", () => {});
    socket.end(`HTTP/1.1 ${status} ${http.STATUS_CODES[status]}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  }
});

process.on("SIGTERM", () => {
  stopping = true;
  for (const client of [...hub.clients]) client.close(1001, "server is shutting down");
  server.close(() => process.exit(0));
  setTimeout(() => process.exit(0), 6000).unref();
});

if (process.env.LOAD_PASSWORD) {
  for (let n = 1; n <= 20; n++) store.addUser(`load-${n}@example.org`, `Load ${n}`, "regular", process.env.LOAD_PASSWORD);
  for (let n = 1; n <= 4; n++) store.addUser(`admin-${n}@example.org`, `Admin ${n}`, "admin", process.env.LOAD_PASSWORD);
  const [first] = [...store.users.values()].filter(({ role }) => role === "admin");
  for (let n = 1; n <= 120; n++) store.create(first, { title: `Feature ${n}`, description: "" });
}
server.listen(PORT, "127.0.0.1", () => console.log(`listening on http://127.0.0.1:${PORT}`));
