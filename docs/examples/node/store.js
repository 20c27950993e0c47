"use strict";
// Users, sessions, features and votes. In memory: a real service has its database here.
const crypto = require("node:crypto");

const STATUSES = ["TODO", "PLANNED", "IN_PROGRESS", "SHIPPED"];
const id = () => crypto.randomBytes(12).toString("hex");

class Store {
  constructor(secret) {
    this.secret = secret;
    this.users = new Map(); // by id
    this.byEmail = new Map();
    this.sessions = new Map(); // by token
    this.features = new Map(); // by id, in order of creation
    this.votes = new Map(); // feature id -> set of user ids
  }

  // -- people

  addUser(email, name, role, password) {
    const salt = crypto.randomBytes(16);
    const user = { id: id(), email, name, role, salt, hash: crypto.scryptSync(password, salt, 32) };
    this.users.set(user.id, user);
    this.byEmail.set(email, user);
    return user;
  }

  async signIn(email, password) {
    const user = this.byEmail.get(String(email).toLowerCase());
    const salt = user ? user.salt : Buffer.alloc(16); // as much work for somebody who is not there
    const hash = await new Promise((done, fail) =>
      crypto.scrypt(String(password), salt, 32, (error, key) => (error ? fail(error) : done(key))));
    if (!user || !crypto.timingSafeEqual(hash, user.hash)) return null;
    const session = { id: id(), token: crypto.randomBytes(24).toString("base64url"), userId: user.id };
    this.sessions.set(session.token, session);
    return session;
  }

  cookie(session) {
    return encodeURIComponent(`${session.token}.${this.#sign(session.token)}`);
  }

  #sign(token) {
    return crypto.createHmac("sha256", this.secret).update(token).digest("base64");
  }

  /** The session of a signed cookie, or null. */
  session(cookie) {
    let value;
    try {
      value = decodeURIComponent(cookie);
    } catch {
      return null;
    }
    const at = value.lastIndexOf(".");
    const [token, given] = [value.slice(0, at), Buffer.from(value.slice(at + 1))];
    const right = Buffer.from(this.#sign(token));
    if (at < 0 || given.length !== right.length || !crypto.timingSafeEqual(given, right)) return null;
    return this.sessions.get(token) || null;
  }

  endSessions(matches) {
    const ended = [...this.sessions.values()].filter(matches);
    for (const session of ended) this.sessions.delete(session.token);
    return ended;
  }

  // -- features

  create(user, { title, description, status }) {
    const now = new Date().toISOString();
    const feature = { id: id(), title, description, status: status || STATUSES[0], voteCount: 0, createdById: user.id,
      createdBy: { name: user.name }, createdAt: now, updatedAt: now };
    this.features.set(feature.id, feature);
    this.votes.set(feature.id, new Set());
    return feature;
  }

  shown(feature, userId) {
    return { ...feature, hasVoted: this.votes.get(feature.id).has(userId) };
  }

  /** What really changed; empty when nothing did. */
  update(feature, wanted) {
    const changes = Object.fromEntries(Object.entries(wanted).filter(([key, value]) => feature[key] !== value));
    if (Object.keys(changes).length) Object.assign(feature, changes, { updatedAt: new Date().toISOString() });
    return changes;
  }

  delete(feature) {
    this.features.delete(feature.id);
    this.votes.delete(feature.id);
  }

  /** Add or take back a vote; false when there was nothing to do. */
  vote(feature, userId, add) {
    const voters = this.votes.get(feature.id);
    if (voters.has(userId) === add) return false;
    if (add) voters.add(userId);
    else voters.delete(userId);
    feature.voteCount = voters.size;
    return true;
  }
}

module.exports = { STATUSES, Store };
