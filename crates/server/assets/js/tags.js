// A field that takes several, such as scopes: each is a tag that can be taken away. What is sent is the field itself,
// out of sight: one per line, or with blanks between where it is a line.
import { icon, say } from "./words.js";

/** What stands in double braces is filled in later and may hold blanks. */
const ONE = /(?:\{\{.*?\}\}|\S)+/g;
/** The same where a comma ends one too. */
const ONE_OR_COMMA = /(?:\{\{.*?\}\}|[^\s,])+/g;
/** Not yet at its end. */
const open = (text) => text.lastIndexOf("{{") > text.lastIndexOf("}}");

function tagged(field) {
  const { tags: help, tagRemove, tagAdded, tagRemoved, tagTwice } = field.dataset;
  const area = field instanceof HTMLTextAreaElement;
  const [between, one, ends] = area ? ["\n", ONE_OR_COMMA, /[\s,]/] : [" ", ONE, /\s/];
  // Connectors say how a line is written: a comma there is a letter as any other, and so it is in what is stored.
  const tags = [...new Set(field.value.match(ONE) ?? [])];
  const tell = (text, which) => say(text.replace("{tag}", which));

  const box = document.createElement("div");
  const list = document.createElement("ul");
  const input = document.createElement("input");
  box.className = "tags";
  list.setAttribute("role", "list");
  input.type = "text";
  for (const name of ["class", "aria-describedby", "aria-required", "aria-invalid", "placeholder"]) {
    if (field.hasAttribute(name)) input.setAttribute(name, field.getAttribute(name));
  }
  for (const [name, value] of [["autocomplete", "off"], ["autocapitalize", "none"], ["spellcheck", "false"]]) {
    input.setAttribute(name, value);
  }
  // The label and what links to the field lead to where one types.
  input.id = field.id;
  field.removeAttribute("id");
  field.removeAttribute("aria-describedby");
  field.hidden = true;
  list.setAttribute("aria-labelledby", `${input.id}-label`);
  const label = document.querySelector(`label[for="${CSS.escape(input.id)}"]`);
  if (label) label.id = `${input.id}-label`;
  const told = document.querySelector(`#${CSS.escape(input.id)}-help [data-instead]`);
  if (told && help) told.textContent = help;
  box.append(list, input);
  field.before(box);

  const drawn = (tag) => {
    const item = document.createElement("li");
    const text = document.createElement("span");
    const away = document.createElement("button");
    text.textContent = tag;
    away.type = "button";
    away.setAttribute("aria-label", tagRemove.replace("{tag}", tag));
    away.append(icon("cross"));
    item.append(text, away);
    return item;
  };
  // One at a time: what is pressed just now must not be replaced.
  const show = (some) => {
    list.append(...some.map(drawn));
    list.hidden = tags.length === 0;
  };
  const changed = () => {
    field.value = tags.join(between);
    field.dispatchEvent(new Event("change", { bubbles: true }));
  };
  const add = (some) => {
    const fresh = [...new Set(some)].filter((tag) => !tags.includes(tag));
    if (fresh.length > 0) {
      tags.push(...fresh);
      show(fresh);
      changed();
      tell(tagAdded, fresh.join(", "));
    } else if (some.length > 0) {
      tell(tagTwice, some.join(", "));
    }
  };
  const take = (at) => {
    const [gone] = tags.splice(at, 1);
    list.children[at].remove();
    show([]);
    changed();
    tell(tagRemoved, gone);
  };
  const typed = () => {
    add(input.value.match(one) ?? []);
    input.value = "";
  };

  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Enter" && input.value.trim() !== "") {
      // With nothing typed it sends the form, as everywhere.
      event.preventDefault();
      typed();
    } else if (event.key === "Backspace" && input.value === "" && tags.length > 0) {
      event.preventDefault();
      take(tags.length - 1);
    }
  });
  // Not by keys, which keyboards on a screen do not tell.
  input.addEventListener("input", (event) => {
    if (!event.isComposing && ends.test(input.value.slice(-1)) && !open(input.value)) typed();
  });
  input.addEventListener("paste", (event) => {
    const pasted = event.clipboardData?.getData("text") ?? "";
    // A line would lose where one ends and the next begins.
    if (!ends.test(pasted.trim())) return;
    event.preventDefault();
    input.setRangeText(pasted.replace(/\s+/g, " "));
    typed();
  });
  // What is left there counts too. A press must not move what is pressed: the tag comes when it has ended.
  let pressed = false;
  document.addEventListener("pointerdown", () => { pressed = true; }, true);
  for (const end of ["pointerup", "pointercancel"]) {
    document.addEventListener(end, () => {
      pressed = false;
      if (document.activeElement !== input) setTimeout(typed);
    }, true);
  }
  input.addEventListener("blur", () => { if (!pressed) typed(); });
  field.form?.addEventListener("submit", typed, true);
  list.addEventListener("click", (event) => {
    const away = event.target.closest?.("button");
    if (!away) return;
    const at = [...list.children].indexOf(away.parentElement);
    take(at);
    // On to the next one, or to the last, or to where one types.
    (list.children[Math.min(at, tags.length - 1)]?.querySelector("button") ?? input).focus();
  });
  box.addEventListener("click", (event) => { if (event.target === box || event.target === list) input.focus(); });
  show(tags);
}

export function start() {
  for (const field of document.querySelectorAll("[data-tags]")) tagged(field);
}
