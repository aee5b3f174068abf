// Files from wherever people have them: the two inputs, a drop anywhere on the page, the clipboard.

/** @param {Iterable<File>} files @returns {Gathered} */
function gathered(files) {
  return { files: Array.from(files, (file) => ({ path: file.webkitRelativePath || file.name, file })), unreadable: 0 };
}

/** Reads what was dropped, folders to their end. @param {DataTransfer} transfer */
async function readDropped({ items, files }) {
  // What is not taken out at once is gone when the event is over.
  const entries = Array.from(items, (item) => item.webkitGetAsEntry?.()).filter((entry) => entry != null);
  const found = gathered(entries.length ? [] : files);
  for (const entry of entries) await readEntry(entry, found);
  return found;
}

/** @param {FileSystemEntry} entry @param {Gathered} found */
async function readEntry(entry, found) {
  if (found.files.length > MOST_FILES) return;
  try {
    if (!entry.isDirectory) {
      const file = await new Promise((resolve, reject) => /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject));
      found.files.push({ path: entry.fullPath.replace(/^\//, ''), file });
      return;
    }
    const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
    for (;;) {
      // Browsers give them in batches; an empty one is the end.
      const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!batch.length) return;
      for (const inner of batch) await readEntry(inner, found);
    }
  } catch {
    found.unreadable += 1;
  }
}

/** @param {EventTarget | null} target */
function isTextField(target) {
  return target instanceof Element && target.matches('input:not([type=file]), textarea');
}

/** Hears of files that are dropped or pasted. @param {(gathered: Gathered | Promise<Gathered>) => void} take */
function listenForFiles(take) {
  let isOwn = false;
  let hiding = 0;
  document.ondragstart = () => void (isOwn = true);
  document.ondragend = () => void (isOwn = false);
  document.ondragenter = document.ondragover = document.ondrop = (event) => {
    const { dataTransfer, target, type } = event;
    const files = !isOwn && dataTransfer?.types.includes('Files');
    // Texts may be dropped where they can be written. Anything else the browser would go to.
    if (!files && isTextField(target)) return;
    event.preventDefault();
    clearTimeout(hiding);
    // It is told again and again while something is held over the page; that it left is told between elements, too.
    $('drop-here').hidden = type === 'drop' || !files || isReceived();
    hiding = setTimeout(() => ($('drop-here').hidden = true), 700);
    if (!dataTransfer) return;
    if (type !== 'drop') dataTransfer.dropEffect = files && !isReceived() ? 'copy' : 'none';
    else if (files) take(readDropped(dataTransfer));
  };
  document.onpaste = (event) => {
    const { clipboardData, target } = event;
    // Office programs put a picture beside every text: in a field the text is meant.
    if (!clipboardData?.files.length || (isTextField(target) && clipboardData.types.includes('text/plain'))) return;
    event.preventDefault();
    take(gathered(clipboardData.files));
  };
}
