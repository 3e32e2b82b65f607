// The few texts that a script shows come with the page, so that they are translated where all others are.
export const word = (name) => document.body.dataset[name] ?? "";

/** An icon of the sheet that pages use. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `${word("icons")}#${name}`);
  svg.append(use);
  return svg;
}

/** Said to those who listen to the page rather than see it. */
export function say(text) {
  const live = document.getElementById("said");
  if (live) live.textContent = text;
}
