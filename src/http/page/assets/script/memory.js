// Where unfinished uploads are, for when the tab is closed and the same file chosen again. The keys say no name: who has a file can find out that it was sent.
// The browser may keep nothing, or refuse: all of it is a convenience.

const REMEMBERED = 'sealslot:';
/** As much of a file's beginning and end tells whether it is the same. */
const SAMPLE = 64 * 1024;
/** What is smaller is sent again sooner than it is asked for. */
const REMEMBERED_FROM = 256 * 1024;

/** @template T @param {(storage: Storage) => T} use */
function withStorage(use) {
  try {
    return use(localStorage);
  } catch {
    return null;
  }
}

/** @param {string} key @returns {string} a URL, or nothing */
function remembered(key) {
  const entry = withStorage((storage) => JSON.parse(storage.getItem(key) ?? 'null'));
  return entry?.expires > Date.now() ? (withStorage(() => uploadUrl(entry.url)) ?? '') : '';
}

/** @param {string} key @param {string} url @param {number} expires */
function remember(key, url, expires) {
  withStorage((storage) => storage.setItem(key, JSON.stringify({ url, expires })));
}

/** @param {string} key */
function forget(key) {
  withStorage((storage) => storage.removeItem(key));
}

/** Whether there is anything to go on with. What has expired is removed. */
function tidyMemory() {
  const keys = withStorage(Object.keys)?.filter((key) => key.startsWith(REMEMBERED)) ?? [];
  const expired = keys.filter((key) => !remembered(key));
  expired.forEach(forget);
  return keys.length > expired.length;
}

/** What a file is known by. Fails where it cannot be read. @param {string} path @param {Blob} file */
async function fingerprint(path, file) {
  const time = file instanceof File && file.lastModified;
  const about = JSON.stringify([location.origin, page.endpoint, path, file.size, time]);
  const end = file.slice(Math.max(SAMPLE, file.size - SAMPLE));
  const bytes = await bytesOf(new Blob([about, file.slice(0, SAMPLE), end]));
  return REMEMBERED + hex(await digestOf(bytes));
}

/**
 * Keeps other tabs from going on with the same upload: they would take it from each other without end.
 * @param {string} key @returns {Promise<(() => void) | null>} what gives it back; nothing where another tab has it
 */
function claim(key) {
  return new Promise((resolve) => {
    const free = () => resolve(() => {});
    if (!navigator.locks) return free();
    navigator.locks
      .request(key, { ifAvailable: true }, (lock) => lock && new Promise((end) => resolve(() => end(null))))
      .then(() => resolve(null), free);
  });
}
