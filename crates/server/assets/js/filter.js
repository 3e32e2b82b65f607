// A list that narrows while one types. Without a script the same field is sent to the server, which narrows it.
import { say, word } from "./words.js";

const plain = (text) => text.toLocaleLowerCase().normalize("NFKD").replace(/\p{M}/gu, "");

export function start() {
  for (const input of document.querySelectorAll("input[data-filter]")) {
    const list = document.getElementById(input.dataset.filter);
    if (!list) continue;
    const entries = [...list.children].map((entry) => [entry, plain(entry.dataset.text ?? entry.textContent)]);
    const none = document.getElementById(`${input.dataset.filter}-none`);
    const narrow = () => {
      const words = plain(input.value).split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const [entry, text] of entries) {
        entry.hidden = !words.every((one) => text.includes(one));
        if (!entry.hidden) shown += 1;
      }
      if (none) none.hidden = shown > 0;
      say(word("found").replace("{n}", String(shown)));
    };
    input.addEventListener("input", narrow);
    input.form?.addEventListener("submit", (event) => {
      const first = entries.find(([entry]) => !entry.hidden)?.[0].querySelector("a");
      if (!first || input.value === "") return;
      event.preventDefault();
      first.click();
    });
    if (input.value) narrow();
  }
}
