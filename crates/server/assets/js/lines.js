// From a mistake to its line: the cursor goes there, in the field that the link names.
export function start() {
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-line]");
    const area = link && document.getElementById(link.hash.slice(1));
    if (!(area instanceof HTMLTextAreaElement)) return;
    event.preventDefault();
    const lines = area.value.split("\n");
    const line = Math.min(Number(link.dataset.line), lines.length) - 1;
    const from = lines.slice(0, line).join("\n").length + (line > 0 ? 1 : 0);
    area.focus();
    area.setSelectionRange(from, from + lines[line].length);
    area.scrollTop = (area.scrollHeight / lines.length) * Math.max(line - 4, 0);
  });
}
