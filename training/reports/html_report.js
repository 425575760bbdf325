"use strict";
const form = document.getElementById("filter");
const items = [...document.querySelectorAll("#questions li")];
const texts = items.map((item) => item.querySelector(".texts").textContent.toLowerCase());

function filter() {
  const { verdict = "all", kind = "", words } = Object.fromEntries(new FormData(form));
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  items.forEach((item, place) => {
    const fits =
      (verdict === "all" || item.dataset.verdict === verdict) &&
      (kind === "" || item.dataset.kinds.split(" ").includes(kind)) &&
      wanted.every((word) => texts[place].includes(word));
    item.hidden = !fits;
    shown += fits;
  });
  form.querySelector("output").textContent = `${shown.toLocaleString("en")} of ${items.length.toLocaleString("en")}`;
  document.getElementById("none").hidden = shown > 0;
}
form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());
filter();

// Each image stands in the page once, and is given to those who show it when they come into sight.
const store = document.getElementById("images");
const images = store ? JSON.parse(store.textContent) : [];
const sight = new IntersectionObserver(
  (seen) => {
    for (const { target, isIntersecting } of seen) {
      if (isIntersecting) {
        target.src = `data:image/jpeg;base64,${images[target.dataset.image]}`;
        sight.unobserve(target);
      }
    }
  },
  { rootMargin: "600px" },
);
document.querySelectorAll("img[data-image]").forEach((image) => sight.observe(image));

const dialog = document.querySelector("dialog");
document.querySelector("#questions ol").addEventListener("click", (event) => {
  const image = event.target.closest("button.image")?.querySelector("img");
  if (image) {
    Object.assign(dialog.querySelector("img"), { src: image.src, alt: image.alt });
    dialog.showModal();
  }
});
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
