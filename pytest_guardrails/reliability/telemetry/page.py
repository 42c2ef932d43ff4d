"""The live page: one HTML text without anything from elsewhere. Read `live.py` for who serves it.

What it shows came from programs and is set as text, never as HTML.
"""

__all__ = ["PAGE"]

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>guardrails: live</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light dark; --line: #8884; --dim: #888; --bad: #c62828; --warn: #b26a00; --good: #2e7d32; }
body { font: 14px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1100px; padding: 1rem; }
h1 { font-size: 1.2rem; margin: 0; } h2 { font-size: 1rem; margin: 1.5rem 0 .3rem; }
header { display: flex; gap: 1rem; align-items: baseline; border-bottom: 1px solid var(--line); padding-bottom: .5rem; }
#link { color: var(--dim); } #link.on { color: var(--good); } #link.off { color: var(--bad); }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .2rem .6rem .2rem 0; border-bottom: 1px solid var(--line); vertical-align: top;
  overflow-wrap: break-word; }
th { color: var(--dim); font-weight: 600; white-space: nowrap; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.warning { color: var(--warn); } .error, .critical { color: var(--bad); font-weight: 600; }
.debug { color: var(--dim); }
.empty { color: var(--dim); }
</style></head><body>
<header><h1>guardrails</h1><span id="link">connecting</span></header>
<main id="views"></main>
<h2>Events</h2><table><thead><tr><th>#</th><th>time</th><th>severity</th><th>source</th><th>kind</th><th>message</th></tr>
</thead><tbody id="events"></tbody></table>
<h2>Metrics</h2><table><tbody id="metrics"></tbody></table>
<script nonce="NONCE">
"use strict";
const byId = id => document.getElementById(id), KEPT = 200;
function cell(row, text, kind) {
  const td = row.insertCell(); td.textContent = text; if (kind) td.className = kind; return td;
}
function show(event) {
  const row = byId("events").insertRow(0);
  cell(row, event.sequence, "number");
  cell(row, new Date(event.at * 1000).toLocaleTimeString());
  cell(row, event.severity, event.severity);
  for (const name of ["source", "kind", "message"]) cell(row, event[name]);
  while (byId("events").rows.length > KEPT) byId("events").deleteRow(-1);
}
function fill(body, rows) {
  body.replaceChildren();
  for (const row of rows) {
    const tr = body.insertRow();
    for (const value of row) cell(tr, value, typeof value === "number" ? "number" : "");
  }
}
function view(name, rows) {
  const head = document.createElement("h2"), table = document.createElement("table");
  head.textContent = name;
  if (!rows.length) { table.className = "empty"; cell(table.insertRow(), "nothing yet"); return [head, table]; }
  const columns = Object.keys(rows[0]), top = table.createTHead().insertRow();
  for (const column of columns) { const th = document.createElement("th"); th.textContent = column; top.append(th); }
  fill(table.createTBody(), rows.map(row => columns.map(column => row[column])));
  return [head, table];
}
async function refresh() {
  try {
    const state = await (await fetch("state")).json();
    byId("views").replaceChildren(...Object.entries(state.views).flatMap(([name, rows]) => view(name, rows)));
    fill(byId("metrics"), state.metrics);
  } catch (error) { byId("link").className = "off"; }
}
let due = 0;
function soon() { if (!due) due = setTimeout(() => { due = 0; refresh(); }, 300); }
const stream = new EventSource("events");
stream.onopen = () => { byId("link").textContent = "live"; byId("link").className = "on"; soon(); };
stream.onerror = () => { byId("link").textContent = "connection lost"; byId("link").className = "off"; };
stream.onmessage = message => { show(JSON.parse(message.data)); soon(); };
refresh(); setInterval(soon, 2000);
</script></body></html>
"""
