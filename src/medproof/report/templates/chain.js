/* The steps of one case as a table, and what of the image they rest on. */
const chainBrowser = (book, tools) => {
  "use strict";
  const { el, badge, load, pixels, picture } = tools;
  const PROTOCOLS = [["clean", "independent"], ["steps(teacher_forced)", "teacher-forced"], ["steps(self_conditioned)", "self-conditioned"], ["steps(joint)", "joint"]];
  const chains = new Map();
  for (const entry of book.cases) {
    if (!entry.stage) continue;
    if (!chains.has(entry.case)) chains.set(entry.case, []);
    chains.get(entry.case).push(entry);
  }
  const stepsOf = (entry) => (entry.stage && chains.get(entry.case)) || [];
  const nameOf = (entry) => entry.id.split("/").pop().replaceAll("_", " ");

  /* One column per step, one row per run and protocol; `go` opens a step. */
  function strip(entry, go) {
    const steps = stepsOf(entry);
    if (steps.length < 2) return [];
    const head = el("tr", {}, el("th", { scope: "col", text: "Step" }), ...steps.map((step) => {
      const button = el("button", { type: "button", class: "step", "aria-current": step === entry ? "step" : null },
        el("small", { text: step.stage }), el("span", { dir: "auto", text: nameOf(step) }));
      button.addEventListener("click", () => go(step));
      return el("th", { scope: "col" }, button);
    }));
    const rows = book.runs.flatMap((label, run) => PROTOCOLS.filter(([key]) => steps.some((step) => step.runs[run][key])).map(([key, words]) =>
      el("tr", {}, el("th", { scope: "row", dir: "auto", text: (book.runs.length > 1 ? label + ", " : "") + words }),
        ...steps.map((step) => el("td", {}, step.runs[run][key] ? badge(step.runs[run][key].status, step.runs[run][key].status) : "–")))));
    return [el("div", { class: "scroll", role: "region", "aria-label": "Steps of this case", tabindex: "0" },
      el("table", { class: "steps" }, el("caption", { text: "The steps of this case" }), el("thead", {}, head), el("tbody", {}, ...rows)))];
  }
  function beside(entry, by) {
    const steps = stepsOf(entry);
    return steps[steps.indexOf(entry) + by];
  }

  /* The evidence: where the picture with the evidence masked differs from the clean one. */
  const MASKED = ["masked(region,grey)", "masked(region,mean)"];
  function maskPair(entry) {
    for (const run of entry.runs)
      for (const key of MASKED) {
        const pair = [run.clean, run[key]].map((cell) => cell && picture(cell.image));
        if (pair.every((found) => found && !found.missing)) return pair;
      }
    return null;
  }
  async function drawMask(canvas, pair) {
    const [clean, masked] = (await Promise.all(pair.map(load))).map(pixels);
    canvas.width = clean.width;
    canvas.height = clean.height;
    const out = new ImageData(clean.width, clean.height);
    for (let i = 0; i < out.data.length; i += 4) {
      const inside = [0, 1, 2].some((c) => clean.data[i + c] !== masked.data[i + c]);
      if (inside) out.data.set([255, 216, 74, 110], i);
    }
    canvas.getContext("2d", { willReadFrequently: true }).putImageData(out, 0, 0);
  }
  function mask(entry) {
    const pair = maskPair(entry);
    if (!pair) return null;
    const canvas = el("canvas", { class: "mask", role: "img", "aria-label": "Evidence: what is covered where the evidence is masked" });
    drawMask(canvas, pair).catch(() => canvas.remove());
    return canvas;
  }
  return { strip, beside, mask, hasMask: (entry) => maskPair(entry) !== null };
};
