// The operator's page: asks the API every two seconds and shows what it says. Reads only. All that is shown is set as text, never as
// markup; the token is kept for this tab and sent as a header alone.
"use strict";

const INTERVAL = 2000;
const SHARDS_AT_ONCE = 512;
const EVENTS_SHOWN = 60;
const BUSIEST_SHOWN = 8;
const TOKEN = "rookery-admin-token";

const byId = (id) => document.getElementById(id);
let token = sessionStorage.getItem(TOKEN) || "";
let timer = 0;
let round = 0;
let firstShards = [null];

class Refused extends Error {
  constructor(status, body) {
    super(body.error || "the directory answered " + status);
    this.status = status;
    this.leader = body.leader_http || "";
  }
}

async function ask(path) {
  const answer = await fetch("/api/v1/" + path, {
    headers: { Authorization: "Bearer " + token },
    cache: "no-store",
    credentials: "omit",
    signal: AbortSignal.timeout(10000),
  });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, body || {});
  return body;
}

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let unit = 0;
  let value = bytes;
  while (value >= 1000 && unit + 1 < units.length) {
    value /= 1000;
    unit += 1;
  }
  return (unit === 0 ? String(value) : value.toFixed(1)) + " " + units[unit];
}

function duration(seconds) {
  if (seconds < 120) return seconds + " s";
  if (seconds < 7200) return Math.ceil(seconds / 60) + " min";
  return Math.ceil(seconds / 3600) + " h";
}

const rate = (milli) => (milli / 1000).toFixed(1);
const count = (number, one, many) => number + " " + (number === 1 ? one : many);

// Rows of cells, each [text, class]; made anew only when something is different.
function fill(table, rows) {
  const said = JSON.stringify(rows);
  if (table.dataset.said === said) return;
  table.dataset.said = said;
  const labels = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
  table.tBodies[0].replaceChildren(...rows.map((row) => {
    const line = element("tr");
    row.forEach(([text, kind], column) => {
      const cell = element("td", text, kind);
      cell.dataset.label = labels[column];
      line.append(cell);
    });
    return line;
  }));
}

function stateOf(node) {
  if (!node.alive) return ["silent", "state silent"];
  if (node.draining) return ["draining", "state draining"];
  return [node.leads ? "alive, leads" : "alive", "state"];
}

function showNodes(cluster) {
  const order = { mailstore: 0, directory: 1, proxy: 2 };
  const nodes = [...cluster.nodes].sort((a, b) =>
    (order[a.role] ?? 3) - (order[b.role] ?? 3) || a.id.localeCompare(b.id, "en", { numeric: true }));
  fill(byId("nodes"), nodes.map((node) => {
    const stores = node.role === "mailstore";
    const figure = (text, known) => (known ? [text, "number"] : ["–", "number quiet"]);
    return [
      [node.id],
      stateOf(node),
      [node.zone || "–", node.zone ? "" : "quiet"],
      figure(String(node.shards), stores),
      figure(String(node.leaders), stores),
      figure(rate(node.operations_milli), stores),
      figure(size(node.bytes), stores),
      figure(size(node.disk_free), stores && node.disk_total > 0),
      figure((node.log_sync_micros / 1000).toFixed(1) + " ms", stores && node.log_sync_micros > 0),
    ];
  }));
  const silent = nodes.filter((node) => !node.alive).length;
  byId("summary").textContent = [
    count(nodes.length, "node", "nodes") + (silent ? ", " + silent + " silent" : ""),
    count(cluster.shards, "shard", "shards"),
    count(cluster.accounts, "account", "accounts"),
    "version " + cluster.version,
  ].join(" · ");
}

function roleIn(shard, node) {
  const at = shard.replicas.indexOf(node);
  if (at < 0) return "";
  if (shard.leader === node) return "leads";
  // Who votes is not known before a leader has said it.
  return shard.voters.length === 0 || shard.voters.includes(shard.members[at]) ? "votes" : "learns";
}

function showPlacement(cluster, page) {
  const mailstores = cluster.nodes.filter((node) => node.role === "mailstore")
    .sort((a, b) => a.id.localeCompare(b.id, "en", { numeric: true }));
  const grid = byId("placement");
  const names = JSON.stringify(mailstores.map((node) => node.id)) + page.shards.length;
  if (grid.dataset.said !== names) {
    grid.dataset.said = names;
    grid.replaceChildren(...mailstores.map((node) => {
      const block = element("div");
      const title = element("h3", node.id);
      title.append(element("span"));
      const cells = element("div", undefined, "cells");
      cells.setAttribute("role", "img");
      cells.append(...page.shards.map(() => element("i", undefined, "cell")));
      block.append(title, cells);
      return block;
    }));
  }
  mailstores.forEach((node, row) => {
    const block = grid.children[row];
    let has = 0;
    let leads = 0;
    page.shards.forEach((shard, column) => {
      const role = roleIn(shard, node.id);
      has += role ? 1 : 0;
      leads += role === "leads" ? 1 : 0;
      const cell = block.lastChild.children[column];
      const kind = role ? "cell " + role : "cell";
      if (cell.className !== kind) cell.className = kind;
      const said = "shard " + shard.id + ": " + ({ leads: "leads", votes: "votes", learns: "is being filled" }[role] || "none");
      if (cell.title !== said) cell.title = said;
    });
    const figures = has + " of " + page.shards.length + ", leads " + leads;
    block.querySelector("span").textContent = figures;
    block.lastChild.setAttribute("aria-label", node.id + " has " + figures);
  });
  const [first, last] = [page.shards[0], page.shards[page.shards.length - 1]];
  const isPart = page.next !== null || firstShards.length > 1;
  byId("placement-page").textContent = isPart && first ? "shards " + first.id + " to " + last.id : "";
  const next = byId("placement-next");
  next.hidden = !isPart;
  next.textContent = page.next === null ? "First shards" : "Next shards";
  next.onclick = () => {
    firstShards = page.next === null ? [null] : [...firstShards, page.next];
    refresh();
  };
}

function standing(shard) {
  const lacking = shard.members.filter((member) => !shard.voters.includes(member)).length;
  if (shard.voters.length === 0) return [shard.leader ? "changing" : "no leader", "quiet"];
  if (lacking > 0) return [count(lacking, "replica", "replicas") + " behind", ""];
  return [shard.members.length + " of " + shard.members.length + " vote", "quiet"];
}

function showBusiest(page) {
  const busiest = [...page.shards]
    .sort((a, b) => b.operations_milli - a.operations_milli || b.bytes - a.bytes || a.id - b.id)
    .slice(0, BUSIEST_SHOWN);
  fill(byId("busiest"), busiest.map((shard) => [
    [String(shard.id), "number"],
    [shard.leader || "none"],
    [rate(shard.operations_milli), "number"],
    [size(shard.bytes), "number"],
    standing(shard),
  ]));
}

function showRebalance(job) {
  const section = byId("rebalance");
  section.hidden = job === null;
  if (job === null) return;
  const isOver = job.state === "done" || job.state === "aborted";
  byId("rebalance-title").textContent = "Rebalance " + job.job + " · " + job.state;
  byId("rebalance-bar").value = job.percent;
  const figures = [job.percent + " %", job.transfers.done + " of " + job.transfers.all + " transfers"];
  if (job.leads.all > 0) figures.push(job.leads.done + " of " + job.leads.all + " leads");
  if (job.bytes > 0) figures.push(size(job.bytes_copied) + " of " + size(job.bytes));
  if (!isOver && job.bytes_per_second > 0) figures.push(size(job.bytes_per_second) + "/s");
  if (job.state === "running" && job.eta_seconds !== null) figures.push("about " + duration(job.eta_seconds) + " left");
  if (isOver) figures.push("took " + duration(Math.round((job.ended_at_millis - job.began_at_millis) / 1000)));
  if (job.transfers.skipped) figures.push(job.transfers.skipped + " skipped");
  if (job.transfers.reverted) figures.push(job.transfers.reverted + " taken back");
  byId("rebalance-figures").textContent = figures.join(" · ");
  const open = isOver ? [] : job.open_transfers.slice(0, 6);
  byId("rebalance-open").replaceChildren(...open.map((one) =>
    element("li", "shard " + one.shard + ", " + (one.from || "nowhere") + " → " + one.to + ": " + one.state +
      (one.why_not ? " (" + one.why_not + ")" : ""))));
}

const BAD = new Set(["node-silent", "replica-replaced", "rebalance-aborted", "transfer-reverted"]);

function showEvents(events) {
  const list = byId("events");
  const newest = events.length ? events[events.length - 1].number : 0;
  if (list.dataset.newest === String(newest)) return;
  list.dataset.newest = String(newest);
  const today = new Date().toDateString();
  list.replaceChildren(...[...events].reverse().map((event) => {
    const at = new Date(event.at_millis);
    const line = element("li", undefined, BAD.has(event.kind) ? "bad" : "");
    const time = element("time", at.toDateString() === today
      ? at.toTimeString().slice(0, 8) : at.toISOString().slice(5, 16).replace("T", " "));
    time.dateTime = at.toISOString();
    line.append(time, element("span", event.text));
    return line;
  }));
}

function showTrouble(message, leader) {
  const place = byId("trouble");
  place.hidden = message === "";
  place.textContent = message;
  if (/^[A-Za-z0-9.:[\]-]+$/.test(leader)) {
    const link = element("a", "go to " + leader);
    link.href = "http://" + leader + "/";
    place.append(" — ", link);
  }
}

function logOut(message) {
  token = "";
  round += 1;
  sessionStorage.removeItem(TOKEN);
  clearTimeout(timer);
  byId("cluster").hidden = true;
  byId("login").hidden = false;
  byId("login-error").textContent = message;
  byId("token").focus();
}

async function refresh() {
  clearTimeout(timer);
  const mine = ++round;
  try {
    const after = firstShards[firstShards.length - 1];
    const [cluster, page, job, events] = await Promise.all([
      ask("cluster"),
      ask("shards?limit=" + SHARDS_AT_ONCE + (after === null ? "" : "&after=" + after)),
      ask("rebalance"),
      ask("events?limit=" + EVENTS_SHOWN),
    ]);
    if (mine !== round) return;
    sessionStorage.setItem(TOKEN, token);
    byId("login").hidden = true;
    byId("cluster").hidden = false;
    showTrouble("", "");
    showNodes(cluster);
    showPlacement(cluster, page);
    showBusiest(page);
    showRebalance(job);
    showEvents(events.events);
    byId("fresh").textContent = "as of " + new Date().toTimeString().slice(0, 8);
  } catch (error) {
    if (mine !== round) return;
    if (error.status === 401) return logOut(error.message);
    byId("login").hidden = true;
    byId("cluster").hidden = false;
    showTrouble(error instanceof Refused ? error.message : "The directory does not answer.", error.leader || "");
  }
  timer = setTimeout(refresh, INTERVAL);
}

byId("login-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = byId("token").value.trim();
  byId("token").value = "";
  byId("login-error").textContent = "";
  // A header cannot carry anything else.
  if (/^[\x21-\x7e]+$/.test(token)) refresh();
  else logOut("That is not a token.");
});
byId("logout").addEventListener("click", () => logOut(""));
if (token) refresh();
else logOut("");
