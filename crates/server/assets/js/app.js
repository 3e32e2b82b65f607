// What every page has. Nothing here is needed to use a page: it only makes some things handier.
import { localTimes } from "./times.js";
import { menus } from "./menus.js";
import { copying } from "./copy.js";

localTimes(document);
menus();
copying();

/** Loads what only some pages need. */
const needs = [
  ["form[data-stay]", "./stay.js"],
  ["[data-secret], .drop, [data-when], [data-hint]", "./fields.js"],
  ["[data-filter]", "./filter.js"],
  ["[data-follow]", "./follow.js"],
  ["[data-lines]", "./lines.js"],
  ["[data-tags]", "./tags.js"],
];
const wanted = needs.filter(([selector]) => document.querySelector(selector));
const started = wanted.map(([, module]) => import(module).then((loaded) => loaded.start()));
Promise.all(started).then(() => (document.documentElement.dataset.started = ""));
document.querySelector("[data-focus]")?.focus();
// On a narrow screen the places are a strip: the one where we are shall be seen.
const here = document.querySelector(".side a[aria-current]");
const strip = here?.closest(".side");
if (strip && strip.scrollWidth > strip.clientWidth) strip.scrollLeft = here.offsetLeft - strip.clientWidth / 3;
