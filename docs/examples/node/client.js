"use strict";
// One socket: its heartbeat, its session, what it may send and what it wants to hear.
const SECOND = 1000;
const HEARTBEAT = 30 * SECOND;
const PATIENCE = 10 * SECOND;
const REVALIDATE = 300 * SECOND;
const MESSAGES = 10; // in WINDOW, PONG not counted
const WINDOW = 10 * SECOND;
const ABUSE = { times: 3, windows: 5 }; // so many times too much, in so many windows in a row, ends the connection
const SUBSCRIPTIONS = 100;
const BACKLOG = 1 << 20; // unsent bytes after which a slow reader is cut off

class Client {
  constructor(ws, session, user, store, hub) {
    Object.assign(this, { ws, store, hub, session, sessionId: session.id, admin: user.role === "admin" });
    this.watched = null; // everything
    this.heard = []; // when the last messages came
    this.abuse = { since: 0, count: 0, windows: 0 };
    this.timers = [setInterval(() => this.ping(), HEARTBEAT), setInterval(() => this.revalidate(), REVALIDATE)];
    this.deadline = null;
    ws.on("message", (data, binary) => this.receive(binary ? null : data.toString()));
    ws.on("error", () => {}); // ws closes by itself, with the code that fits
    ws.on("close", () => this.leave());
    hub.clients.add(this);
  }

  send(text) {
    if (this.ws.readyState !== this.ws.OPEN) return;
    if (this.ws.bufferedAmount > BACKLOG) this.ws.terminate();
    else this.ws.send(text);
  }

  error(code, message, context) {
    this.send(JSON.stringify({ type: "ERROR", code, message, ...(context && { context }), timestamp: new Date().toISOString() }));
  }

  close(code, reason) {
    this.leave();
    this.ws.close(code, reason);
    setTimeout(() => this.ws.terminate(), 5 * SECOND).unref();
  }

  leave() {
    this.hub.clients.delete(this);
    this.timers.forEach(clearInterval);
    clearTimeout(this.deadline);
  }

  // -- what time brings

  ping() {
    this.send('{"type":"PING"}');
    this.deadline = setTimeout(() => this.close(1008, "no PONG in time"), PATIENCE);
  }

  revalidate() {
    if (this.store.sessions.get(this.session.token) !== this.session) this.expire();
    else this.admin = this.store.users.get(this.session.userId).role === "admin";
  }

  expire() {
    this.error("SESSION_EXPIRED", "Your session has ended. Sign in again.");
    this.close(4401, "session expired");
  }

  // -- what the client sends

  receive(text) {
    const message = read(text);
    if (message.type === "PONG") return clearTimeout(this.deadline);
    const now = performance.now();
    if (this.#offends(now)) return this.close(1008, "rate limit exceeded persistently");
    while (this.heard.length && this.heard[0] <= now - WINDOW) this.heard.shift();
    if (this.heard.length >= MESSAGES) {
      const text = `At most ${MESSAGES} messages in ${WINDOW / SECOND} s. This message was ignored.`;
      return this.error("RATE_LIMIT_EXCEEDED", text, { limit: MESSAGES, window: `${WINDOW / SECOND}s` });
    }
    this.heard.push(now);
    if (message.problem) this.error("INVALID_MESSAGE", message.problem);
    else this[message.type === "SUBSCRIBE" ? "subscribe" : "unsubscribe"](message.featureIds);
  }

  #offends(now) {
    const abuse = this.abuse;
    if (now >= abuse.since + WINDOW) {
      const goesOn = abuse.count >= ABUSE.times * MESSAGES && now < abuse.since + 2 * WINDOW;
      this.abuse = { since: now, count: 1, windows: goesOn ? abuse.windows : 0 };
    } else if (++abuse.count === ABUSE.times * MESSAGES) {
      abuse.windows += 1;
    }
    return this.abuse.windows >= ABUSE.windows;
  }

  subscribe(ids) {
    if (!ids.length) return;
    const watched = new Set([...(this.watched || []), ...ids]);
    if (watched.size > SUBSCRIPTIONS) {
      this.error("SUBSCRIPTION_LIMIT", `One connection may watch at most ${SUBSCRIPTIONS} features.`, { limit: SUBSCRIPTIONS });
    } else {
      this.watched = watched;
    }
  }

  unsubscribe(ids) {
    if (!this.watched) return;
    for (const id of ids) this.watched.delete(id);
    if (!this.watched.size) this.watched = null; // nobody falls silent by unsubscribing
  }

  wants(featureId) {
    return this.watched === null || this.watched.has(featureId);
  }
}

/** A message of the contract, or { problem }. */
function read(text) {
  if (text === null) return { problem: "Messages are sent as text, not as binary." };
  let message;
  try {
    message = JSON.parse(text);
  } catch {
    return { problem: "This is not JSON." };
  }
  if (message === null || typeof message !== "object" || Array.isArray(message)) return { problem: "A message is one JSON object." };
  if (message.type === "PONG") return { type: "PONG" };
  if (message.type !== "SUBSCRIBE" && message.type !== "UNSUBSCRIBE") return { problem: "The type is none that a client sends." };
  const ids = message.featureIds;
  if (!Array.isArray(ids) || !ids.every((id) => typeof id === "string")) return { problem: "featureIds has to be a list of strings." };
  return { type: message.type, featureIds: ids };
}

module.exports = { Client };
