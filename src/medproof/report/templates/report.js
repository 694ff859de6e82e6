(() => {
  "use strict";
  const SIGNS = { correct: "✓", wrong: "✗", abstain: "○", unparsed: "?", error: "!" };
  const LETTERS = "ABCDEFGHIJ";
  const GAINS = [1, 2, 4, 8, 16, 32, 64];
  const $ = (id) => document.getElementById(id);
  const book = JSON.parse($("case-data").textContent);
  let pictures = null;
  const picture = (number) => {
    pictures ??= JSON.parse($("picture-data").textContent);
    return number === null || number === undefined ? null : pictures[number];
  };
  const dataUri = (entry) => "data:image/png;base64," + entry.png;

  /* Elements are made from text only: nothing of the data is ever read as HTML. */
  function el(name, props, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(props || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (key === "text") node.textContent = value;
      else node.setAttribute(key, value === true ? "" : value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  }
  const svgEl = (name, props) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(props)) node.setAttribute(key, value);
    return node;
  };

  const cases = book.cases;
  const attackKeys = book.conditions.filter((c) => c.kind === "attack").map((c) => c.key);
  const labelOf = Object.fromEntries(book.conditions.map((c) => [c.key, c.label]));
  const several = book.runs.length > 1;
  for (const entry of cases) {
    const replies = entry.runs.flatMap((run) => Object.values(run).map((cell) => cell.text));
    entry.haystack = [entry.id, entry.question, entry.anatomy || "", ...entry.options, ...replies].join("\n").toLowerCase();
  }

  /* ---- filters ---- */
  const form = $("filters"), list = $("case-list"), dialog = $("case-dialog");
  const fields = { text: $("f-text"), modality: $("f-modality"), type: $("f-type"), run: $("f-run"), condition: $("f-condition"), outcome: $("f-outcome"), flip: $("f-flip") };
  const choices = (select, all, pairs) => {
    select.append(el("option", { value: "", text: all }), ...pairs.map(([value, text]) => el("option", { value, text })));
  };
  const distinct = (name) => [...new Set(cases.map((entry) => entry[name]))].sort().map((value) => [value, value]);
  choices(fields.modality, "All", distinct("modality"));
  choices(fields.type, "All", distinct("type"));
  choices(fields.run, "Any", book.runs.map((label, index) => [String(index), label]));
  choices(fields.condition, "Any", book.conditions.map((c) => [c.key, c.label]));
  choices(fields.outcome, "Any", Object.keys(SIGNS).map((status) => [status, SIGNS[status] + " " + status]));
  $("f-run-label").hidden = !several;

  const isFlip = (run, key) => {
    const keys = attackKeys.includes(key) ? [key] : attackKeys;
    return run.clean && run.clean.status === "correct" && keys.some((k) => run[k] && run[k].status !== "correct");
  };
  function matches(entry, want) {
    if (want.modality && entry.modality !== want.modality) return false;
    if (want.type && entry.type !== want.type) return false;
    if (want.words.some((word) => !entry.haystack.includes(word))) return false;
    const runs = want.run === "" ? entry.runs : [entry.runs[Number(want.run)]];
    return runs.some((run) => {
      if (want.flip && !isFlip(run, want.condition)) return false;
      const cells = want.condition ? [run[want.condition]] : Object.values(run);
      if (!want.condition && !want.outcome) return want.run === "" || cells.length > 0;
      return cells.some((cell) => cell && (!want.outcome || cell.status === want.outcome));
    });
  }
  let shown = [];
  let current = 0;

  function badge(status, text) {
    return el("span", { class: "badge " + status }, el("span", { "aria-hidden": "true", text: SIGNS[status] }), el("span", { text }));
  }
  function thumb(entry) {
    const number = entry.runs.map((run) => run.clean && run.clean.image).find((n) => n !== null && n !== undefined);
    const found = picture(number);
    if (!found || found.missing) return el("span", { class: "thumb none", text: "no picture" });
    return el("img", { class: "thumb", alt: "", loading: "lazy", decoding: "async", src: dataUri(found), width: 88, height: 88 });
  }
  function card(entry) {
    const rows = entry.runs.map((run, index) => [run, index]).filter(([run]) => book.conditions.some(({ key }) => run[key])).map(([run, index]) => {
      const row = el("div", {}, several ? el("span", { class: "who", text: book.runs[index] }) : null);
      for (const { key, label, short } of book.conditions) {
        const cell = run[key];
        if (!cell) continue;
        const mark = badge(cell.status, short);
        mark.title = label + ": " + cell.status;
        mark.append(el("span", { class: "hidden-word", text: " " + cell.status }));
        row.append(mark);
      }
      return row;
    });
    const link = el("a", { class: "case", href: "#case=" + encodeURIComponent(entry.id), tabindex: "-1" },
      thumb(entry),
      el("span", { class: "q", dir: "auto", text: entry.question }),
      el("span", { class: "tagline", dir: "auto", text: entry.modality + " · " + entry.type }),
      el("div", { class: "marks" }, ...rows));
    return el("li", {}, link);
  }
  const cards = cases.map(card);
  const linkAt = (index) => cards[cases.indexOf(shown[index])].firstElementChild;

  function focusAt(index, move) {
    if (!shown.length) return;
    linkAt(Math.min(current, shown.length - 1)).tabIndex = -1;
    current = Math.max(0, Math.min(index, shown.length - 1));
    const link = linkAt(current);
    link.tabIndex = 0;
    if (move) link.focus();
  }
  function refresh() {
    const want = {
      words: fields.text.value.toLowerCase().split(/\s+/).filter(Boolean), modality: fields.modality.value, type: fields.type.value,
      run: fields.run.value, condition: fields.condition.value, outcome: fields.outcome.value, flip: fields.flip.checked,
    };
    for (const item of cards) item.firstElementChild.tabIndex = -1;
    shown = cases.filter((entry) => matches(entry, want));
    list.replaceChildren(...shown.map((entry) => cards[cases.indexOf(entry)]));
    $("case-count").textContent = shown.length === cases.length ? cases.length + " cases" : shown.length + " of " + cases.length + " cases";
    current = 0;
    focusAt(0, false);
  }
  form.addEventListener("input", refresh);
  form.addEventListener("reset", () => setTimeout(refresh));
  form.addEventListener("submit", (event) => event.preventDefault());

  function columns() {
    if (shown.length < 2) return 1;
    const top = list.children[0].offsetTop;
    const next = [...list.children].findIndex((child) => child.offsetTop > top);
    return next < 1 ? shown.length : next;
  }
  const plainKey = (event) => !event.ctrlKey && !event.metaKey && !event.altKey;
  list.addEventListener("keydown", (event) => {
    if (!plainKey(event)) return;
    const steps = { ArrowRight: 1, j: 1, ArrowLeft: -1, k: -1, ArrowDown: columns(), ArrowUp: -columns(), Home: -shown.length, End: shown.length };
    if (!(event.key in steps)) return;
    event.preventDefault();
    focusAt(current + steps[event.key], true);
  });
  list.addEventListener("focusin", (event) => {
    const index = shown.findIndex((entry) => cards[cases.indexOf(entry)].contains(event.target));
    if (index >= 0) focusAt(index, false);
  });

  /* ---- one case ---- */
  let boxesOn = true;
  let opened = null;

  const cleanOf = (entry) => (entry.runs.find((run) => run.clean) || {}).clean;
  function boxOverlay(entry) {
    const svg = svgEl("svg", { viewBox: "0 0 " + entry.size[0] + " " + entry.size[1], preserveAspectRatio: "none", class: "boxes", role: "img", "aria-label": "Evidence: " + entry.boxes.map((b) => b.label).join(", ") });
    for (const { xyxy: [x0, y0, x1, y1] } of entry.boxes)
      for (const layer of ["under", "over"]) svg.append(svgEl("rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0, class: layer }));
    svg.style.display = boxesOn ? "" : "none";
    return svg;
  }
  function frame(entry, cell, name, small) {
    const found = cell && picture(cell.image);
    const caption = el("figcaption", { text: name }, small ? el("small", { text: small }) : null);
    if (!found || found.missing) {
      const why = !cell ? "not run" : found ? found.missing : cell.note;
      return el("figure", {}, el("div", { class: "nothing", role: "img", "aria-label": name + ": no picture, " + why, text: "No picture: " + why }), caption);
    }
    const box = el("div", { class: "frame" }, el("img", { src: dataUri(found), width: found.width, height: found.height, alt: name + " of case " + entry.id }));
    if (entry.size && entry.boxes.length) box.append(boxOverlay(entry));
    const mask = entry.runs.some((run) => run.clean === cell) ? chain.mask(entry) : null;
    if (mask) { mask.hidden = !boxesOn; box.append(mask); }
    return el("figure", {}, box, caption);
  }
  const load = (entry) => new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = reject;
    image.src = dataUri(entry);
  });
  const pixels = (image) => {
    const canvas = el("canvas", { width: image.naturalWidth, height: image.naturalHeight });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, canvas.width, canvas.height);
  };
  async function drawDifference(canvas, note, clean, other, gain, stored) {
    const [before, after] = (await Promise.all([load(clean), load(other)])).map(pixels);
    canvas.width = before.width;
    canvas.height = before.height;
    const out = new ImageData(before.width, before.height);
    let largest = 0;
    for (let i = 0; i < out.data.length; i += 1) {
      const delta = after.data[i] - before.data[i];
      if (i % 4 === 3) { out.data[i] = 255; continue; }
      largest = Math.max(largest, Math.abs(delta));
      out.data[i] = 128 + gain * delta;
    }
    canvas.getContext("2d", { willReadFrequently: true }).putImageData(out, 0, 0);
    if (largest !== stored.linf) note.append(" This browser alters canvas pixels: the picture is not exact, the numbers are.");
  }
  function difference(cleanCell, cell, gain) {
    const delta = cell.delta;
    const shape = [picture(cleanCell.image), picture(cell.image)];
    const note = el("small", { text: "Mid-grey: no change. Largest change " + delta.linf + " of 255 grey levels, L2 " + delta.l2.toFixed(2) + " (pixels 0 to 1), " + Math.round(100 * delta.changed) + " % of values changed." });
    const canvas = el("canvas", { role: "img", "aria-label": "Difference to the clean image, times " + gain, width: shape[0].width, height: shape[0].height });
    drawDifference(canvas, note, shape[0], shape[1], gain, delta).catch(() => note.append(" The picture could not be drawn."));
    return el("figure", { class: "diff" }, el("div", { class: "frame" }, canvas), el("figcaption", { text: "Difference × " + gain }, note));
  }
  const chain = chainBrowser(book, { el, badge, load, pixels, picture });
  const autoGain = (delta) => [...GAINS].reverse().find((gain) => gain * delta.linf <= 127) || 1;

  function comparisons(entry) {
    const found = [];
    entry.runs.forEach((run, index) => book.conditions.forEach(({ key, label, kind }) => {
      if (key !== "clean" && run[key]) found.push({ run, key, kind, value: index + "|" + key, text: (several ? book.runs[index] + ": " : "") + label });
    }));
    return found;
  }
  function firstComparison(entry, found) {
    return found.find((f) => f.kind === "attack" && isFlip(f.run, f.key)) || found.find((f) => f.kind === "attack") || found.find((f) => f.run[f.key].image !== null) || found[0];
  }
  function pictureRow(entry, choice, gain) {
    const clean = choice ? choice.run.clean : cleanOf(entry);
    const row = [frame(entry, clean, "Clean image", "as the model saw it")];
    if (choice) {
      const cell = choice.run[choice.key];
      row.push(frame(entry, cell, labelOf[choice.key], choice.key));
      if (cell.delta) row.push(difference(clean, cell, gain || autoGain(cell.delta)));
    }
    return row;
  }
  function pictureBlock(entry) {
    const found = comparisons(entry);
    const first = firstComparison(entry, found);
    const row = el("div", { class: "pictures" });
    const beside = el("select", {}, ...found.map((f) => el("option", { value: f.value, text: f.text, selected: f === first })));
    const gain = el("select", {}, el("option", { value: "", text: "automatic" }), ...GAINS.map((g) => el("option", { value: g, text: "× " + g })));
    const toggle = el("input", { type: "checkbox", id: "box-toggle" });
    toggle.checked = boxesOn;
    const draw = () => row.replaceChildren(...pictureRow(entry, found.find((f) => f.value === beside.value), Number(gain.value)));
    beside.addEventListener("change", draw);
    gain.addEventListener("change", draw);
    toggle.addEventListener("change", () => {
      boxesOn = toggle.checked;
      for (const svg of row.querySelectorAll("svg.boxes")) svg.style.display = boxesOn ? "" : "none";
      for (const canvas of row.querySelectorAll("canvas.mask")) canvas.hidden = !boxesOn;
    });
    const tools = el("div", { class: "tools" });
    if (found.length) tools.append(el("label", { text: "Beside the clean image" }, beside));
    if (found.some((f) => f.run[f.key].delta)) tools.append(el("label", { text: "Difference amplified" }, gain));
    const named = " (" + [...new Set(entry.boxes.map((b) => b.label))].join(", ") + ")";
    if (entry.boxes.length && entry.size) tools.append(el("label", { class: "check" }, toggle, (chain.hasMask(entry) ? "Evidence: boxes and mask" : "Evidence boxes") + named));
    draw();
    const parts = [tools, row];
    if (entry.boxes.length && !entry.size) {
      const where = entry.boxes.map((b) => b.label + " [" + b.xyxy.join(", ") + "]").join("; ");
      parts.push(el("p", { class: "case-meta", text: "Evidence boxes in pixels of the stored image, whose size this run does not hold: " + where }));
    }
    return parts;
  }
  function takers(entry, index) {
    return entry.runs.map((run, number) => {
      const names = book.conditions.filter(({ key }) => run[key] && run[key].chosen === index).map((c) => c.short);
      return names.length ? el("div", { text: (several ? book.runs[number] + ": " : "chosen: ") + names.join(", ") }) : null;
    });
  }
  function optionList(entry) {
    return el("ol", { class: "options" }, ...entry.options.map((text, index) => {
      const right = index === entry.answer;
      return el("li", { class: right ? "right" : "" }, el("span", { class: "letter", text: LETTERS[index] }),
        el("span", {}, el("span", { class: "text", dir: "auto", text }), right ? el("span", { class: "right-mark", text: "  ✓ right answer" }) : null),
        el("div", { class: "takers" }, ...takers(entry, index)));
    }));
  }
  function reply(entry, run, condition) {
    const cell = run[condition.key];
    const option = (index) => LETTERS[index] + " · " + entry.options[index];
    const parsed = el("div", {}, badge(cell.status, cell.status));
    if (cell.chosen !== null) parsed.append(el("div", { class: "parsed", dir: "auto", text: option(cell.chosen) }));
    parsed.append(el("small", { text: "read by rule: " + cell.rule }));
    if (cell.forced !== null) parsed.append(el("small", { text: "forced choice: " + LETTERS[cell.forced] }));
    if (cell.truncated) parsed.append(el("small", { text: "reply cut at the token limit" }));
    const text = cell.error ? "error: " + cell.error : cell.text || "(empty reply)";
    const pre = el("pre", { dir: "auto", tabindex: "0", role: "region", "aria-label": "Reply under " + condition.label, text });
    if (cell.cut) pre.append("\n… " + cell.cut + " more characters in the run");
    return el("li", {}, el("div", {}, el("strong", { text: condition.label }), el("code", { class: "key", text: condition.key })), parsed, pre);
  }
  function replyBlocks(entry) {
    return entry.runs.flatMap((run, index) => {
      const rows = book.conditions.filter(({ key }) => run[key]).map((condition) => reply(entry, run, condition));
      return rows.length ? [el("h4", { text: several ? "Replies · " + book.runs[index] : "Replies" }), el("ol", { class: "replies" }, ...rows)] : [];
    });
  }
  function open(entry) {
    opened = entry;
    const place = shown.indexOf(entry);
    $("case-title").textContent = entry.id;
    $("case-place").textContent = place < 0 ? "" : place + 1 + " of " + shown.length;
    $("case-prev").disabled = place <= 0;
    $("case-next").disabled = place < 0 || place === shown.length - 1;
    const meta = [entry.modality, entry.type, entry.anatomy, entry.source, entry.license].filter(Boolean).join(" · ");
    $("case-body").replaceChildren(el("p", { class: "question", dir: "auto", text: entry.question }), el("p", { class: "case-meta", dir: "auto", text: meta }),
      ...chain.strip(entry, go), ...pictureBlock(entry), optionList(entry), ...replyBlocks(entry));
    $("case-body").scrollTop = 0;
    if (!dialog.open) dialog.showModal();
    $("case-title").focus();
    if (place >= 0) focusAt(place, false);
  }
  function go(next) {
    if (!opened || !next) return;
    /* At once, and not by the hashchange event: two quick presses are two steps. */
    history.replaceState(null, "", "#case=" + encodeURIComponent(next.id));
    open(next);
  }
  const step = (by) => { if (shown.includes(opened)) go(shown[shown.indexOf(opened) + by]); };
  function fromHash() {
    let id = null;
    try {
      id = location.hash.startsWith("#case=") ? decodeURIComponent(location.hash.slice(6)) : null;
    } catch (error) {
      if (!(error instanceof URIError)) throw error;
    }
    const entry = id === null ? null : cases.find((c) => c.id === id);
    if (entry) open(entry);
    else if (dialog.open) dialog.close();
  }
  dialog.addEventListener("close", () => {
    if (location.hash.startsWith("#case=")) history.replaceState(null, "", "#");
    /* The browser has just given focus back to the card that opened the dialog; the case may be another by now. */
    const place = shown.indexOf(opened);
    opened = null;
    focusAt(place < 0 ? current : place, true);
  });
  dialog.addEventListener("keydown", (event) => {
    if (!plainKey(event) || event.target.matches("select, input")) return;
    const along = { "]": 1, "[": -1 }[event.key];
    if (along && opened) go(chain.beside(opened, along));
    const by = { ArrowRight: 1, j: 1, ArrowLeft: -1, k: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    step(by);
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  $("case-prev").addEventListener("click", () => step(-1));
  $("case-next").addEventListener("click", () => step(1));
  $("case-close").addEventListener("click", () => dialog.close());
  window.addEventListener("hashchange", fromHash);

  /* On paper nothing is folded away. */
  const folded = [...document.querySelectorAll("details")];
  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = folded.filter((node) => !node.open);
    for (const node of closed) node.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const node of closed) node.open = false;
  });

  form.hidden = cases.length === 0;
  $("case-help").hidden = cases.length === 0;
  refresh();
  fromHash();
})();
