// A secret in the making: text, or one file that is picked, dropped or pasted.
import { $, complain, say, size, word } from "./dom.js";
import { Payload } from "./envelope.js";
import { safeName } from "./names.js";

const encoder = new TextEncoder();

export function compose(maxBytes) {
  let file = null;

  function take(files, isFolder = false) {
    complain("problem", "");
    if (isFolder || files.length > 1) return complain("problem", word("one-file"), $("file"));
    const found = files[0];
    if (!found) return undefined;
    if (found.size > maxBytes) return tooLarge(found.size, $("file"));
    if (!found.size) return complain("problem", word("empty-file"), $("file"));
    if ($("secret").value) return complain("problem", word("text-or-file"), $("secret"));
    return use(found);
  }

  function use(found) {
    file = found;
    $("file").value = "";
    $("chosen").hidden = !file;
    $("secret").hidden = Boolean(file);
    $("chosen-name").textContent = file?.name ?? "";
    $("chosen-size").textContent = file ? size(file.size) : "";
    if (file) say(word("file-chosen", { name: file.name }));
  }

  function tooLarge(bytes, field) {
    complain("problem", word("too-large", { size: size(bytes), limit: size(maxBytes) }), field);
  }

  $("file").addEventListener("change", () => take($("file").files));
  $("unchoose").addEventListener("click", () => { use(null); $("secret").focus(); });
  document.addEventListener("paste", (event) => {
    const { files, types } = event.clipboardData;
    // An office program puts a picture of its text beside it: then the text is what is meant.
    if (!files.length || types.includes("text/html") || $("drop").closest("[hidden]")) return;
    event.preventDefault();
    take(files);
  });
  const holdsFile = (event) => event.dataTransfer.types.includes("Files");

  // A text goes into the field that it is dropped on; nothing else may replace the page.
  function guard(event) {
    if (holdsFile(event) || !event.target.matches?.("input, textarea")) event.preventDefault();
  }

  document.addEventListener("dragover", (event) => {
    guard(event);
    $("drop").classList.toggle("over", holdsFile(event));
  });
  document.addEventListener("dragleave", () => $("drop").classList.remove("over"));
  document.addEventListener("drop", (event) => {
    guard(event);
    $("drop").classList.remove("over");
    const { files, items } = event.dataTransfer;
    if (!files.length || $("drop").closest("[hidden]")) return;
    take(files, [...items].some((item) => item.webkitGetAsEntry?.()?.isDirectory));
  });

  return {
    // While it is being sent, nothing is changed.
    hold(held) {
      $("secret").readOnly = held;
    },
    isEmpty: () => !file && !$("secret").value,
    clear() {
      use(null);
      $("secret").value = "";
    },
    // The payload, or null after a complaint.
    async payload() {
      const typed = $("secret").value;
      if (!file && !typed) return complain("problem", word("nothing"), $("secret")) ?? null;
      if (!file && !typed.isWellFormed?.() && /\p{Surrogate}/u.test(typed)) {
        return complain("problem", word("bad-character"), $("secret")) ?? null;
      }
      const content = file ? await read(file) : encoder.encode(typed);
      if (!content) return complain("problem", word("unreadable"), $("file")) ?? null;
      if (content.length > maxBytes) return tooLarge(content.length, $("secret")) ?? null;
      return file ? new Payload(content, safeName(file.name), safeType(file.type)) : new Payload(content);
    },
  };
}

// A file may have been moved or changed since it was chosen.
const read = (file) => file.arrayBuffer().then((buffer) => new Uint8Array(buffer), () => null);

const safeType = (type) => (/^[\x20-\x7e]{1,127}$/.test(type) ? type : undefined);
