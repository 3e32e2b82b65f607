// Buttons that copy. They are hidden without a script: the text can be marked and copied by hand.
import { say, word } from "./words.js";

async function put(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Plain http on another machine than this one has no clipboard API.
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "away";
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

export function copying() {
  for (const button of document.querySelectorAll("button[data-copy]")) button.hidden = false;
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("button[data-copy]");
    if (!button) return;
    const label = button.querySelector(".word");
    const before = label.textContent;
    try {
      await put(document.getElementById(button.dataset.copy).textContent);
      label.textContent = word("copied");
    } catch {
      label.textContent = word("notCopied");
    }
    say(label.textContent);
    setTimeout(() => { label.textContent = before; }, 2000);
  });
}
