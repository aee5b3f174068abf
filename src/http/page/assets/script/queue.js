// What is handed in: its uploads in order, how many of them run at once, and how they become one submission.

const AT_ONCE = 3;
/** Small ones mostly wait for answers, so more of them run. */
const SMALL_AT_ONCE = 6;
const SMALL = 1_000_000;
const MOST_FILES = 10_000;

/** @type {Upload[]} What was cancelled is gone from it. */
let uploads = [];
/** Names of what was cancelled and may have arrived. @type {string[]} */
let uncertain = [];
/** What there is to say of those that were added last. */
let notice = '';
/** Whether Send was pressed. */
let isSending = false;
/** Whether nothing may be started now. */
let isHeld = false;
const totalSpeed = new Speed();
/** A creation that others wait for, to join it. @type {Promise<void> | null} */
let founding = null;

/** What makes it the same file. @param {Upload} upload */
function identity({ path, size, blob }) {
  return JSON.stringify([path, size, blob instanceof File && blob.lastModified]);
}

/** As many files may be on the list. */
function mostFiles() {
  return Math.min(MOST_FILES, page.mostFiles ?? MOST_FILES);
}

/** Whether a link takes such a file, by its type or its extension. @param {Upload} upload */
function isAccepted({ path, blob }) {
  const name = path.toLowerCase();
  const type = blob.type.toLowerCase().split(';')[0] ?? '';
  const fits = (/** @type {string} */ one) => {
    if (one.startsWith('.')) return name.endsWith(one);
    return one.endsWith('/*') ? type.startsWith(one.slice(0, -1)) : type === one;
  };
  return !page.accept.length || page.accept.some(fits);
}

/** Why a file would be refused; nothing where it would not. @param {Upload} upload @param {number} size of those before it */
function refusedFor(upload, size) {
  if (upload.size > page.maxSize) return 'too-large';
  if (new TextEncoder().encode(upload.path).length > page.maxName) return 'name-too-long';
  if (!isAccepted(upload)) return 'type-not-accepted';
  return page.mostBytes !== null && size + upload.size > page.mostBytes ? 'no-room' : '';
}

/** Adds files; gives how many, how many were there already, and how many are too many. @param {Chosen[]} files */
async function addFiles(files) {
  const known = new Map(uploads.map((upload) => [identity(upload), upload]));
  const counts = { added: 0, skipped: 0, left: 0 };
  /** @type {Upload[]} */
  const alike = [];
  let { files: count, size } = totals();
  const add = (/** @type {Upload} */ upload) => {
    if (uploads.length >= MOST_FILES || count >= mostFiles()) return (counts.left += 1);
    counts.added += 1;
    uploads.push(upload);
    const problem = refusedFor(upload, size);
    if (problem) return upload.fail(problem, true);
    count += 1;
    size += upload.size;
    changed(upload);
  };
  together(() => {
    for (const { path, file } of files) {
      const upload = new Upload(file, path || page.receipt.unnamed);
      const same = identity(upload);
      if (known.has(same)) alike.push(upload);
      else add(upload);
      if (!known.has(same)) known.set(same, upload);
    }
  });
  // Scans have names, times and even sizes in common that are not the same.
  for (const upload of alike) {
    const other = known.get(identity(upload));
    if (other && (await holdsSame(upload, other))) counts.skipped += 1;
    else add(upload);
  }
  return counts;
}

/** @param {Upload} one @param {Upload} other */
async function holdsSame(one, other) {
  const [a, b] = await Promise.all([one, other].map(({ path, blob }) => fingerprint(path, blob).catch(() => null)));
  return a !== null && a === b;
}

/** Begins, with the texts of the form where there are any. @param {Blob | null} texts */
async function startSending(texts) {
  isSending = isHeld = true;
  if (texts) uploads.unshift(new Upload(texts, ''));
  uploads.forEach(showSoon);
  // What goes on from another visit belongs to a submission of then; the rest joins it.
  if (tidyMemory()) {
    for (const upload of [...uploads]) {
      // A file that cannot be read says so when its turn comes.
      if (upload.state === 'waiting' && upload.size >= REMEMBERED_FROM) await upload.recall().catch(() => {});
      if (upload.url) break;
    }
  }
  isHeld = false;
  startNext();
}

/** Something about an upload is different. @param {Upload} upload */
function changed(upload) {
  const place = uploads.indexOf(upload);
  // What an earlier hand-in left behind may still come to its end.
  if (place < 0) return;
  if (upload.state === 'cancelled') uploads.splice(place, 1);
  showSoon(upload);
  startNext();
}

function startNext() {
  if (!isSending || isHeld) return;
  // What is only compared leaves the network to others.
  const running = uploads.filter((upload) => upload.underWay && upload.checked < 0);
  const upload = running.length < SMALL_AT_ONCE && uploads.find(({ state }) => state === 'waiting');
  if (!upload) return;
  const small = [upload, ...running].every(({ size }) => size <= SMALL);
  // Starting is a change, which starts the next.
  if (small || running.length < AT_ONCE) upload.start();
}

/** Does several things before anything is started. @param {() => void} act */
function together(act) {
  const before = isHeld;
  isHeld = true;
  act();
  isHeld = before;
  startNext();
}

/** Does something to all of some uploads. @param {(upload: Upload) => boolean} which @param {(upload: Upload) => void} act */
function toAll(which, act) {
  together(() => uploads.filter(which).forEach(act));
}

/** Somebody has to do something first: what waits is not tried one by one. @param {string} code */
function hold(code) {
  toAll(
    ({ state }) => state === 'waiting',
    (upload) => upload.fail(code),
  );
}

/**
 * Creates an upload of this hand-in: the first alone, the others when there is one to join.
 * @param {AbortSignal} turn @param {(anchor?: string) => Promise<void>} create
 */
async function join(turn, create) {
  while (!turn.aborted) {
    const anchor = uploads.find(({ url, joinable }) => url && joinable);
    if (!anchor && founding) {
      await founding.catch(() => {});
      continue;
    }
    const creation = create(anchor?.url);
    if (!anchor) founding = creation;
    try {
      return await creation;
    } catch (error) {
      if (!anchor || asUploadError(error).follows !== 'join') throw error;
      anchor.joinable = false;
    } finally {
      if (founding === creation) founding = null;
    }
  }
}

/** How many there are in some state, and how many bytes of how many were sent. */
function totals() {
  const own = uploads.filter(({ refused }) => !refused);
  const count = (/** @type {(upload: Upload) => boolean} */ which) => own.filter(which).length;
  return {
    count: own.length,
    // The texts are none.
    files: own.filter(({ path }) => path).length,
    filesDone: count(({ path, state }) => path !== '' && state === 'done'),
    done: count(({ state }) => state === 'done'),
    failed: count(({ state }) => state === 'failed'),
    paused: count(({ state }) => state === 'paused'),
    lost: count(({ state }) => state === 'reconnecting'),
    running: count(({ underWay }) => underWay),
    sending: count(({ state }) => state === 'sending'),
    open: count(({ underWay, state }) => underWay || state === 'waiting'),
    pausable: count(({ pausable }) => pausable),
    resumable: count(({ resumable }) => resumable),
    size: own.reduce((sum, { size }) => sum + size, 0),
    sent: own.reduce((sum, { part, size }) => sum + part * size, 0),
    left: own.reduce((sum, { underWay, state, size, sent }) => sum + (underWay || state === 'waiting' ? size - sent : 0), 0),
  };
}

function clearQueue() {
  uploads = [];
  uncertain = [];
  isSending = isHeld = false;
  notice = '';
  totalSpeed.reset();
}
