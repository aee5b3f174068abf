// Where unfinished uploads are, for when the tab is closed and the same file chosen again. The browser may keep nothing, or
// refuse: all of it is a convenience. The keys say nothing of the files.

const REMEMBERED = 'sealslot:';
/** As much of a file's beginning and end tells whether it is the same. */
const SAMPLE = 64 * 1024;
/** What is smaller is sent again sooner than it is asked for. */
const REMEMBERED_FROM = 256 * 1024;

/** @param {(storage: Storage) => any} use */
function withStorage(use) {
  try {
    return use(localStorage);
  } catch {
    return null;
  }
}

/** @param {string} key */
function remembered(key) {
  return /** @type {{url: string, expires: number} | null} */ (
    withStorage((storage) => {
      const entry = JSON.parse(storage.getItem(key) ?? 'null');
      return entry && entry.expires > Date.now() ? { ...entry, url: uploadUrl(entry.url) } : null;
    })
  );
}

/**
 * @param {string} key
 * @param {string} url
 * @param {number} expires
 */
function remember(key, url, expires) {
  withStorage((storage) => storage.setItem(key, JSON.stringify({ url, expires })));
}

/** @param {string} key */
function forget(key) {
  withStorage((storage) => storage.removeItem(key));
}

/** The keys of all that is remembered; what has expired is removed. */
function rememberedKeys() {
  const keys = withStorage((storage) => Object.keys(storage)) ?? [];
  return keys.filter((/** @type {string} */ key) => {
    if (!key.startsWith(REMEMBERED)) return false;
    if (!remembered(key)) forget(key);
    return remembered(key);
  });
}

/**
 * What a file is known by. Fails where it cannot be read.
 * @param {string} path
 * @param {File} file
 */
async function fingerprint(path, file) {
  const about = JSON.stringify([new URL(page.endpoint, document.baseURI).href, path, file.size, file.lastModified]);
  const parts = [file.slice(0, SAMPLE), file.slice(Math.max(SAMPLE, file.size - SAMPLE))];
  const bytes = await new Blob([about, ...parts]).arrayBuffer();
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return REMEMBERED + Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * Takes a remembered upload for this tab: two of them going on with it would take it from each other without end.
 * @param {string} key
 * @returns {Promise<(() => void) | null>} what gives it back; nothing where another tab has it
 */
function claim(key) {
  return new Promise((resolve) => {
    const nothing = () => {};
    if (!navigator.locks) return resolve(nothing);
    const held = (/** @type {Lock | null} */ lock) => (lock ? new Promise((release) => resolve(() => release(null))) : resolve(null));
    navigator.locks.request(key, { ifAvailable: true }, held).catch(() => resolve(nothing));
  });
}
