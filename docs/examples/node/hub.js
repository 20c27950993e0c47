"use strict";
// Who is connected, and what they are told: votes on one feature within 100 ms leave as one message with the final count, and no more
// than 100 broadcasts leave in a second. Nothing final is lost: what has to wait, waits by feature.
const WINDOW = 100; // ms
const PER_SECOND = 100;

class Hub {
  constructor() {
    this.clients = new Set();
    this.waiting = new Map(); // feature id -> votes that leave together when their time has come
    this.free = new Map(); // feature id -> when its next vote may leave
    this.events = []; // what administrators did, in order
    this.sent = []; // when the last broadcasts left
    this.timer = null;
  }

  vote(featureId, voteCount, voter, action) {
    const batch = this.waiting.get(featureId) || { featureId };
    const vote = { voterId: voter.userId, sessionId: voter.sessionId, action };
    // The session that voted last is shown the last vote of somebody else, if there is one.
    if (batch.last && batch.last.sessionId !== vote.sessionId) batch.other = batch.last;
    this.waiting.set(featureId, Object.assign(batch, { last: vote, voteCount }));
    this.#pump();
  }

  event(featureId, message, adminsOnly) {
    const batch = this.waiting.get(featureId);
    if (batch) { // the votes before it leave before it
      this.waiting.delete(featureId);
      this.events.push({ batch });
    }
    this.events.push({ featureId, message, adminsOnly });
    if (message.type === "FEATURE_DELETED") this.free.delete(featureId);
    this.#pump();
  }

  #pump() {
    clearTimeout(this.timer);
    this.timer = null;
    const now = performance.now();
    while (this.sent.length && this.sent[0] <= now - 1000) this.sent.shift();
    while (this.events.length && this.sent.length < PER_SECOND) {
      const { batch, featureId, message, adminsOnly } = this.events.shift();
      this.sent.push(now);
      if (batch) this.#sendVotes(batch);
      else this.#send(message, (client) => (!adminsOnly || client.admin) && client.wants(featureId));
    }
    let next = Infinity;
    for (const [featureId, batch] of this.waiting) {
      const due = this.free.get(featureId) || 0;
      if (due > now) {
        next = Math.min(next, due);
      } else if (this.sent.length < PER_SECOND) {
        this.waiting.delete(featureId);
        this.free.set(featureId, now + WINDOW);
        this.sent.push(now);
        this.#sendVotes(batch);
      }
    }
    if (this.sent.length >= PER_SECOND && (this.events.length || this.waiting.size)) next = Math.min(next, this.sent[0] + 1000);
    if (next < Infinity) this.timer = setTimeout(() => this.#pump(), Math.max(1, next - performance.now()));
  }

  #sendVotes({ featureId, voteCount, last, other }) {
    const told = ({ voterId, action }) =>
      JSON.stringify({ type: "VOTE_UPDATE", featureId, voteCount, voterId, action, timestamp: new Date().toISOString() });
    const [forAll, forLast] = [told(last), other && told(other)];
    for (const client of this.clients) {
      if (!client.wants(featureId)) continue;
      const own = client.sessionId === last.sessionId;
      if (!own) client.send(forAll);
      else if (forLast) client.send(forLast);
    }
  }

  #send(message, wanted) {
    const text = JSON.stringify({ ...message, timestamp: new Date().toISOString() });
    for (const client of this.clients) if (wanted(client)) client.send(text);
  }
}

module.exports = { Hub };
