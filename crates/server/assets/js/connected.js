// The window that opened this one is told what was connected: at the origin that the session was made for, and no other.
const main = document.querySelector("main[data-connected]");
if (main && window.opener) {
  window.opener.postMessage(JSON.parse(main.dataset.connected), main.dataset.origin);
  const button = main.querySelector("[data-close]");
  button.hidden = false;
  button.addEventListener("click", () => window.close());
}
