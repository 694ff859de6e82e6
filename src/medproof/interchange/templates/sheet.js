"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const { sheet, rows, letters, columns, cannotTell } = read("content");
  const pictures = read("pictures");
  const at = (id) => document.getElementById(id);
  const place = `medproof-sheet-${sheet}`;
  let answers = {};
  let here = 0;

  // Storage may be switched off; the page then keeps the answers for as long as it is open.
  const keep = () => { try { localStorage.setItem(place, JSON.stringify(answers)); } catch { return; } };
  try {
    const kept = JSON.parse(localStorage.getItem(place) || "{}");
    for (const row of rows) if (typeof kept[row.id] === "string") answers[row.id] = kept[row.id];
  } catch { answers = {}; }

  const done = () => rows.filter((row) => row.id in answers).length;
  const firstOpen = () => rows.findIndex((row) => !(row.id in answers));
  const progress = () => {
    at("bar").value = done();
    at("count").textContent = `Question ${here + 1} of ${rows.length}, ${done()} answered`;
    at("open").disabled = firstOpen() < 0;
  };

  const choose = (value) => {
    answers[rows[here].id] = value;
    keep();
    progress();
  };

  const option = (value, letter, text) => {
    const label = document.createElement("label");
    const input = document.createElement("input");
    const name = document.createElement("b");
    const words = document.createElement("span");
    Object.assign(input, { type: "radio", name: "answer", value, checked: answers[rows[here].id] === value });
    input.addEventListener("change", () => choose(value));
    name.textContent = letter;
    words.textContent = text;
    if (value === cannotTell) label.className = "none";
    label.append(input, name, words);
    return label;
  };

  const show = (number, focus = true) => {
    here = number;
    const row = rows[here];
    at("picture").src = `data:image/png;base64,${pictures[row.picture]}`;
    at("question").textContent = row.question;
    const listed = row.options.map((text, index) => option(letters[index], letters[index], text));
    at("options").replaceChildren(...listed, option(cannotTell, "0", "Cannot tell"));
    at("back").disabled = here === 0;
    at("next").disabled = here === rows.length - 1;
    at("notice").textContent = "";
    progress();
    if (focus) at("question").focus();
  };

  const csv = () => {
    const lines = rows.map((row) => [sheet, row.id, answers[row.id] || ""].join(","));
    return [columns.join(","), ...lines, ""].join("\r\n");
  };

  at("form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (here < rows.length - 1) show(here + 1);
  });
  at("back").addEventListener("click", () => show(here - 1));
  at("open").addEventListener("click", () => show(firstOpen()));
  at("save").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    link.download = `answers-${sheet}.csv`;
    link.click();
    URL.revokeObjectURL(link.href);
    const open = rows.length - done();
    at("notice").textContent = open ? `Saved. Still open: ${open}.` : "Saved; every question is answered.";
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const pressed = event.key.toUpperCase();
    const index = pressed.length === 1 ? letters.indexOf(pressed) : -1;
    const value = pressed === "0" ? cannotTell : index >= 0 && index < rows[here].options.length ? letters[index] : null;
    if (value !== null) {
      choose(value);
      document.querySelector(`input[value="${value}"]`).checked = true;
    } else if (event.key === "Enter" && event.target.tagName !== "BUTTON") {
      event.preventDefault();
      if (here < rows.length - 1) show(here + 1);
    }
  });
  show(Math.max(0, firstOpen()), false);
})();
