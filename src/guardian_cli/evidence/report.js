"use strict";
// A still is shown by a deliberate click (or Enter, or the space bar); Escape hides them all again.
document.addEventListener("click", (event) => {
  const still = event.target.closest("button.still");
  if (still) still.setAttribute("aria-pressed", String(still.getAttribute("aria-pressed") !== "true"));
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const still of document.querySelectorAll("button.still")) still.setAttribute("aria-pressed", "false");
});

const PAGE_ROWS = 100;
const form = document.querySelector("form.filters");
if (form && typeof guardianRows !== "undefined") {
  const body = document.getElementById("rows");
  const more = document.getElementById("more");
  const shown = document.getElementById("shown");
  const buttons = [...form.querySelectorAll("button.filter")];
  const rows = guardianRows.map(([file, verdict, source, category, score, severity, why, length, found]) => ({
    file, verdict, source, category, score, severity, why, length, found,
    text: [source, ...why].join("\n").toLowerCase(),
  }));
  let matching = rows;

  const element = (name, text, kind) => {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };
  const draw = (row) => {
    const line = element("tr");
    const verdict = element("td");
    const mark = element("span", { block: "■", error: "✕", review: "▲", allow: "●" }[row.verdict]);
    mark.setAttribute("aria-hidden", "true");
    const badge = element("span", "", "badge v-" + row.verdict);
    badge.append(mark, " " + row.verdict);
    verdict.append(badge);
    const source = element("th");
    source.scope = "row";
    const link = element("a");
    link.href = row.file;
    link.append(element("bdi", row.source));
    source.append(link, element("small", row.length));
    const highest = element("td", [row.category, row.score].filter(Boolean).join(" "));
    if (row.severity !== "none") highest.append(element("small", "severity " + row.severity));
    line.append(verdict, source, highest, element("td", row.why.join("; ")));
    return line;
  };
  const extend = () => {
    const next = matching.slice(body.rows.length, body.rows.length + PAGE_ROWS);
    body.append(...next.map(draw));
    more.hidden = body.rows.length >= matching.length;
    const of = matching.length === rows.length ? "" : ` that match, of ${rows.length.toLocaleString("en")}`;
    shown.textContent = `${body.rows.length.toLocaleString("en")} shown of ${matching.length.toLocaleString("en")}${of}, the worst first.`;
  };
  const filter = () => {
    const verdicts = buttons.filter((one) => one.getAttribute("aria-pressed") === "true").map((one) => one.dataset.verdict);
    const category = form.elements.category.value;
    const q = form.elements.q.value.trim().toLowerCase();
    matching = rows.filter((row) =>
      (!verdicts.length || verdicts.includes(row.verdict)) &&
      (!category || row.found.includes(category)) && (!q || row.text.includes(q)));
    body.replaceChildren();
    extend();
    // Kept in the address: whoever comes back from a sheet finds the same list.
    const state = new URLSearchParams({ verdict: verdicts.join(" "), category, q });
    for (const [name, value] of [...state]) if (!value) state.delete(name);
    history.replaceState(null, "", "#" + state);
  };
  const state = new URLSearchParams(location.hash.slice(1));
  const pressed = (state.get("verdict") || "").split(" ");
  for (const one of buttons) {
    one.setAttribute("aria-pressed", String(pressed.includes(one.dataset.verdict)));
    one.addEventListener("click", () => {
      one.setAttribute("aria-pressed", String(one.getAttribute("aria-pressed") !== "true"));
      filter();
    });
  }
  form.elements.q.value = state.get("q") || "";
  form.elements.category.value = state.get("category") || "";
  form.addEventListener("submit", (event) => event.preventDefault());
  form.elements.q.addEventListener("input", filter);
  form.elements.category.addEventListener("change", filter);
  more.addEventListener("click", extend);
  filter();
}
