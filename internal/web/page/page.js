// The page is whole without this. With it, its parts are fetched anew every few
// seconds and replaced where they differ: the server alone knows how they look.
"use strict";
(() => {
  const every = 3000; // ms
  const $ = (id) => document.getElementById(id);
  let token = "", timer = 0, asked = 0, since = null;

  const live = $("live");
  live.hidden = false;
  live.addEventListener("click", () => {
    const on = live.getAttribute("aria-pressed") !== "true";
    live.setAttribute("aria-pressed", String(on));
    live.textContent = on ? "Live" : "Paused";
    if (on) refresh();
  });

  let pressed = false; // what is pressed must be there when it is let go
  document.addEventListener("pointerdown", () => { pressed = true; });
  for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, () => { pressed = false; });

  // swap puts next in the place of the part old, unless they are the same or
  // somebody is selecting text in it. What had the focus has it again.
  function swap(old, next) {
    prepare(next);
    if (pressed || old.innerHTML === next.innerHTML) return;
    const chosen = document.getSelection();
    if (chosen && !chosen.isCollapsed && old.contains(chosen.anchorNode)) return;
    const at = document.activeElement;
    const key = old.contains(at) ? keyOf(at) : "";
    old.replaceChildren(...next.childNodes);
    if (key) [...old.querySelectorAll("a, button")].find((e) => keyOf(e) === key)?.focus({ preventScroll: true });
  }
  const keyOf = (e) => e.dataset.key || [e.dataset.act, e.dataset.flow, e.dataset.topic, e.dataset.partition].join("\n");

  function prepare(part) {
    for (const e of part.querySelectorAll(".acts")) e.hidden = token === "";
  }

  // A state that comes while a newer one is asked for is not shown.
  async function refresh() {
    clearTimeout(timer);
    const mine = ++asked;
    try {
      const r = await fetch("/" + location.search, { headers: { Accept: "text/html" }, cache: "no-store" });
      if (!r.ok) throw new Error(await r.text());
      const next = new DOMParser().parseFromString(await r.text(), "text/html");
      if (mine !== asked) return;
      for (const old of document.querySelectorAll("[data-live]")) {
        const part = next.getElementById(old.id);
        if (part) swap(old, part);
      }
      if (document.title !== next.title) $("changed").textContent = $("verdict-title").textContent; // to be read aloud
      document.title = next.title;
      $("offline").hidden = true;
      since = null;
    } catch {
      if (mine !== asked) return;
      since ??= new Date();
      $("offline").textContent = `kferry has not answered since ${since.toISOString().slice(11, 19)} UTC; what is shown here is old. Trying on.`;
      $("offline").hidden = false;
    }
    again();
  }
  function again() {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (document.hidden || live.getAttribute("aria-pressed") !== "true") again();
      else refresh();
    }, every);
  }
  document.addEventListener("visibilitychange", () => { if (!document.hidden && live.getAttribute("aria-pressed") === "true") refresh(); });

  // Sorting, paging and choosing change the query alone.
  function show(query) {
    history.replaceState(null, "", "/" + query);
    const q = new URLSearchParams(query), form = $("choose");
    for (const name of ["sort", "order"]) form.elements[name].value = q.get(name) || "";
    refresh();
  }
  document.addEventListener("click", (e) => {
    const a = e.target.closest("a[data-key]");
    if (!a || e.ctrlKey || e.metaKey || e.shiftKey) return;
    e.preventDefault();
    if (a.dataset.key === "all") $("choose").reset();
    if (a.dataset.key === "all") for (const n of ["topic", "flow", "state"]) $("choose").elements[n].value = "";
    show(a.search);
  });
  const form = $("choose");
  function choose() {
    const q = new URLSearchParams();
    for (const [name, value] of new FormData(form)) if (value) q.set(name, value);
    show(q.size ? "?" + q : "");
  }
  let typing = 0;
  form.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(choose, 250); });
  form.addEventListener("submit", (e) => { e.preventDefault(); clearTimeout(typing); choose(); });
  form.querySelector("button").hidden = true;

  // Actions: the token stays in the variable above.
  let saying = 0;
  function say(text) {
    $("said").textContent = text;
    $("said").hidden = false;
    clearTimeout(saying);
    saying = setTimeout(() => { $("said").hidden = true; }, 8000);
  }
  async function act(what, body) {
    try {
      const r = await fetch("/api/v1/" + what, {
        method: "POST", headers: { Authorization: "Bearer " + token, "Content-Type": "application/json" }, body: JSON.stringify(body),
      });
      const answer = await r.json();
      say(r.ok ? answer.text : "Refused: " + answer.error);
      if (r.status === 401) withToken("");
    } catch (e) {
      say("kferry does not answer: " + e.message);
    }
    setTimeout(refresh, 1200); // the daemon heeds a wish within a second
  }
  function withToken(given) {
    token = given;
    prepare(document);
    $("level").hidden = token === "";
  }
  if ($("act")) {
    $("act").hidden = false;
    $("token").addEventListener("submit", (e) => {
      e.preventDefault();
      withToken(e.target.elements.token.value);
      e.target.reset();
    });
    $("level").addEventListener("submit", (e) => { e.preventDefault(); act("log-level", { level: e.target.elements.level.value }); });
    document.addEventListener("click", (e) => {
      const b = e.target.closest("button[data-act]");
      if (!b) return;
      const d = b.dataset, body = { flow: d.flow };
      if (d.topic !== undefined) body.topic = d.topic;
      if (d.partition !== undefined) body.partition = Number(d.partition);
      const what = d.topic === undefined ? `flow ${d.flow}` : `topic ${d.topic}`;
      if (d.act !== "pause" || confirm(`Pause ${what}? Nothing of it is carried until somebody resumes it.`)) act(d.act, body);
    });
  }
  again();
})();
