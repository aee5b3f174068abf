// Files from wherever people take them: two buttons, a drop anywhere on the page, the clipboard.

/**
 * @typedef {{path: string, file: File}} Chosen
 * @typedef {{files: Chosen[], unreadable?: number, more?: boolean}} Gathered `more`: there was more than is taken
 */

/**
 * What an input holds; a folder's files with their paths in it.
 * @param {HTMLInputElement} input
 * @returns {Chosen[]}
 */
function chosenIn(input) {
  return Array.from(input.files ?? [], (file) => ({ path: file.webkitRelativePath || file.name, file }));
}

/**
 * Everything in what was dropped, folders read to their end but for a bound.
 * @param {DataTransfer} transfer
 */
function dropped(transfer) {
  // What is not taken out now is gone when the event is over.
  const items = Array.from(transfer.items, (item) => ({ kind: item.kind, entry: item.webkitGetAsEntry?.(), file: item.getAsFile() }));
  return readEntries(items.filter((item) => item.kind === 'file'));
}

/** @param {{entry?: FileSystemEntry | null, file: File | null}[]} items */
async function readEntries(items) {
  /** @type {Chosen[]} */
  const files = [];
  let unreadable = 0;
  /** @type {FileSystemEntry[]} */
  const entries = [];
  for (const { entry, file } of items) {
    if (entry) entries.push(entry);
    else if (file) files.push({ path: file.name, file });
  }
  // Folders count, too: a tree of nothing but folders must come to an end.
  let place = 0;
  for (; place < entries.length && files.length <= MOST_FILES && place <= 2 * MOST_FILES; place += 1) {
    const entry = /** @type {FileSystemEntry} */ (entries[place]);
    try {
      if (entry.isDirectory) entries.push(...(await entriesIn(/** @type {FileSystemDirectoryEntry} */ (entry))));
      else files.push({ path: entry.fullPath.replace(/^\//, ''), file: await fileOf(/** @type {FileSystemFileEntry} */ (entry)) });
    } catch {
      unreadable += 1;
    }
  }
  return { files, unreadable, more: place < entries.length };
}

/**
 * Browsers give a folder's entries in batches, the last of them empty.
 * @param {FileSystemDirectoryEntry} folder
 */
async function entriesIn(folder) {
  const reader = folder.createReader();
  /** @type {FileSystemEntry[]} */
  const all = [];
  for (;;) {
    /** @type {FileSystemEntry[]} */
    const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    all.push(...batch);
    if (!batch.length || all.length > MOST_FILES) return all;
  }
}

/**
 * @param {FileSystemFileEntry} entry
 * @returns {Promise<File>}
 */
function fileOf(entry) {
  return new Promise((resolve, reject) => entry.file(resolve, reject));
}

/** @param {EventTarget | null} target */
function isTextField(target) {
  return target instanceof Element && target.closest('input:not([type=file]), textarea') !== null;
}

/**
 * Hears of files that are dropped or pasted, wherever on the page.
 * @param {HTMLElement | null} overlay shown while files are held over the page
 * @param {() => boolean} open whether any are taken now
 * @param {(gathered: Gathered | Promise<Gathered>) => void} take
 */
function listenForFiles(overlay, open, take) {
  let own = false;
  let hiding = 0;
  const show = (/** @type {boolean} */ shown) => {
    clearTimeout(hiding);
    if (overlay) overlay.hidden = !shown;
  };
  const over = (/** @type {DragEvent} */ event) => {
    const files = Boolean(event.dataTransfer?.types.includes('Files')) && !own;
    // Texts may be dropped where they can be written. All else would make the browser go where it leads.
    if (!files && isTextField(event.target)) return;
    event.preventDefault();
    if (event.dataTransfer) event.dataTransfer.dropEffect = files && open() ? 'copy' : 'none';
    if (!files || !open()) return;
    show(true);
    // This event comes as long as something is held over the page. Those that tell of leaving also come between elements.
    hiding = setTimeout(show, 700, false);
  };
  document.addEventListener('dragstart', () => (own = true));
  document.addEventListener('dragend', () => (own = false));
  document.addEventListener('dragenter', over);
  document.addEventListener('dragover', over);
  document.addEventListener('drop', (event) => {
    show(false);
    const files = event.dataTransfer?.types.includes('Files') && !own;
    if (!files && isTextField(event.target)) return;
    event.preventDefault();
    if (files && open() && event.dataTransfer) take(dropped(event.dataTransfer));
  });
  document.addEventListener('paste', (event) => {
    const files = Array.from(event.clipboardData?.files ?? [], (file) => ({ path: file.name, file }));
    // Office programs put a picture of a text beside it: in a field the text is meant.
    if (!files.length || !open() || (isTextField(event.target) && event.clipboardData?.types.includes('text/plain'))) return;
    event.preventDefault();
    take({ files });
  });
}
