(() => {
  "use strict";
  for (const form of document.querySelectorAll("form[data-list]")) {
    const groups = [...document.getElementById(form.dataset.list).children];
    const refresh = () => {
      const step = form.elements.step.value, differ = form.elements.differ.checked;
      for (const group of groups) group.hidden = (step !== "" && group.dataset.step !== step) || (differ && group.dataset.equal === "1");
    };
    form.hidden = false;
    form.addEventListener("input", refresh);
    form.addEventListener("submit", (event) => event.preventDefault());
    refresh();
  }
})();
