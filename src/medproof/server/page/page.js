"use strict";

const at = (id) => document.getElementById(id);
let file = null;

function say(id, text) {
  at(id).textContent = text;
  at(id).hidden = !text;
}

function choose(chosen) {
  if (!chosen) return;
  file = chosen;
  URL.revokeObjectURL(at("preview").src);
  at("preview").src = URL.createObjectURL(file);
  at("preview").hidden = false;
  at("drop-text").hidden = true;
  say("file-name", file.name);
}

function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve("data:application/octet-stream;base64," + reader.result.split(",")[1]);
    reader.onerror = () => reject(new Error("the file cannot be read; choose it again"));
    reader.readAsDataURL(blob);
  });
}

async function ask() {
  if (!file) throw new Error("choose an image first");
  const headers = { "Content-Type": "application/json" };
  if (at("token").value) headers.Authorization = "Bearer " + at("token").value;
  const body = {
    image: await dataUrl(file),
    question: at("question").value,
    options: at("options").value.split("\n").map((line) => line.trim()).filter(Boolean),
  };
  const seconds = parseFloat(at("deadline").value);
  if (Number.isFinite(seconds)) body.deadline_seconds = seconds;
  const reply = await fetch("/v1/answer", { method: "POST", headers, body: JSON.stringify(body) });
  const found = await reply.json();
  if (!reply.ok) throw new Error(found.error ? found.error.message : "the server answered " + reply.status);
  return [found, body.options];
}

function claim(found) {
  const proof = found.certificate;
  if (!proof) return "";
  if (found.abstain) return `${proof.n} noisy copies prove no answer.`;
  const { width, height } = found.picture;
  return `Certified: no change of the ${width} × ${height} image by less than ${proof.radius} (L2, pixels in 0 to 1), which is ` +
    `${proof.radius_grey_levels_rms} grey levels on average (RMS), turns this answer. This holds but for an error of at most ` +
    `${proof.alpha}, after ${proof.n} noisy copies.`;
}

function bar(share) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  svg.setAttribute("aria-hidden", "true");
  rect.setAttribute("height", "100%");
  rect.setAttribute("width", `${100 * share}%`);
  svg.append(rect);
  return svg;
}

function showVotes(found, options) {
  const proof = found.certificate;
  const rows = options.map((option, i) => [option, proof ? proof.votes[i] : 0, option === found.answer]);
  if (proof && proof.other_votes) rows.push(["no option", proof.other_votes, false]);
  at("votes").tBodies[0].replaceChildren(...rows.map(([name, votes, won]) => {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    row.className = won ? "won" : "";
    const count = document.createElement("td");
    count.textContent = votes;
    const share = document.createElement("td");
    share.append(bar(proof ? votes / proof.n : 0));
    row.append(head, count, share);
    return row;
  }));
}

function showFacts(found) {
  const proof = found.certificate || {};
  const facts = {
    Model: found.model.name, Weights: found.model.weights_sha256, Processor: found.model.processor_sha256,
    Image: found.picture.sha256, File: found.picture.upload_sha256, Sigma: proof.sigma, Alpha: proof.alpha,
    Plan: proof.plan, Bound: proof.bound, Stopped: proof.stopped, Seed: proof.seed, Seconds: found.seconds, Request: found.id,
  };
  at("facts").replaceChildren(...Object.entries(facts).filter(([, value]) => value !== undefined).flatMap(([name, value]) => {
    const pair = [document.createElement("dt"), document.createElement("dd")];
    pair[0].textContent = name;
    pair[1].textContent = value;
    return pair;
  }));
}

function show(found, options) {
  say("kind", found.abstain ? "No answer" : "Answer");
  say("said", found.abstain ? "The model abstains" : `${found.letter}) ${found.answer}`);
  say("claim", claim(found));
  say("note", found.note || "");
  showVotes(found, options);
  const blank = found.blank.answer;
  say("blank", blank === null ? "A blank image gets no answer." :
    `To a blank image it says “${blank}”${found.blank.same ? ": the same." : ", so the answer depends on the image."}`);
  if (found.abstain && blank !== null) say("blank", `To a blank image it says “${blank}”.`);
  at("reason").hidden = !found.reasoning;
  if (found.reasoning) {
    say("words", found.reasoning.text || "(nothing)");
    const letter = found.reasoning.letter;
    say("agrees", letter === null ? "It names no option." : `It ends in ${letter}` +
      (found.abstain ? "." : found.reasoning.agrees ? ", as the vote does." : ", and the vote does not."));
  }
  showFacts(found);
  at("waiting").hidden = true;
  at("answer").hidden = false;
}

at("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  say("problem", "");
  at("ask").disabled = true;
  at("ask").textContent = "Voting …";
  try {
    show(...await ask());
    at("result").focus({ preventScroll: true });
    at("result").scrollIntoView({ block: "nearest" });
  } catch (error) {
    say("problem", error instanceof TypeError ? "The server cannot be reached." : error.message);
  } finally {
    at("ask").disabled = false;
    at("ask").textContent = "Ask";
  }
});
at("file").addEventListener("change", () => choose(at("file").files[0]));
at("file").addEventListener("focus", () => at("drop").classList.add("focus"));
at("file").addEventListener("blur", () => at("drop").classList.remove("focus"));
at("preview").addEventListener("error", () => { at("preview").hidden = true; });
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") choose(event.dataTransfer.files[0]);
  });
}
