// The protocol: tus 1.0.0, with the bytes of every upload apart from its creation, so that its URL is known before them.

/**
 * What follows from a failure:
 * - `again`: it goes on by itself, however long that takes;
 * - `fault`: the server failed; again, but not for ever;
 * - `anew`: the server does not have the upload any more;
 * - `join`: the upload that a new one should have joined is not known any more;
 * - `person`: somebody has to do something first;
 * - `never`: it will be refused each time.
 * @typedef {'again' | 'fault' | 'anew' | 'join' | 'person' | 'never'} Follows
 *
 * @typedef {object} Receipt
 * @property {string} [id]
 * @property {string} [submission]
 * @property {string} [kind]
 * @property {string | null} [name]
 * @property {number} size
 * @property {string} [sha256]
 * @property {string} [time]
 * @property {string[]} [recipients]
 */

class UploadError extends Error {
  /**
   * @param {Follows} follows
   * @param {string} code
   * @param {number} [wait] seconds that the server asks for
   */
  constructor(follows, code, wait = 0) {
    super(code);
    this.follows = follows;
    this.code = code;
    this.wait = wait;
  }
}

/**
 * What a refusal means. 404 and 410 mean an upload only where the request was for one.
 * @param {XMLHttpRequest} xhr
 * @param {boolean} created
 */
function refusal(xhr, created) {
  const { status } = xhr;
  let code = `http-${status}`;
  try {
    code = String(JSON.parse(xhr.responseText).code ?? code);
  } catch {
    // Not ours, or an answer to HEAD.
  }
  const wait = Math.min(Number(xhr.getResponseHeader('Retry-After')) || 0, 300);
  if (code === 'unknown-submission') return new UploadError('join', code);
  if (created && (status === 404 || status === 410)) return new UploadError('anew', code);
  if (status === 401 || status === 507) return new UploadError('person', code);
  if ([429, 502, 503, 504].includes(status)) return new UploadError('again', 'busy', Math.max(wait, 1));
  if ([408, 409, 423, 425].includes(status) || code === 'body-incomplete') return new UploadError('again', code, wait);
  return new UploadError(status >= 500 ? 'fault' : 'never', code, wait);
}

/**
 * One request. After an abort nothing of it is heard any more.
 * @param {string} method
 * @param {string} url
 * @param {object} options
 * @param {{[name: string]: string}} [options.headers]
 * @param {Blob | null} [options.body]
 * @param {AbortSignal} [options.signal]
 * @param {(sent: number, all: boolean) => void} [options.moved] told how much of the body is on its way
 * @returns {Promise<XMLHttpRequest>}
 */
function request(method, url, { headers = {}, body = null, signal, moved }) {
  return new Promise((resolve, reject) => {
    const lost = () => reject(new UploadError('again', 'network'));
    if (signal?.aborted) return lost();
    const xhr = new XMLHttpRequest();
    const abort = () => xhr.abort();
    xhr.open(method, url);
    const sent = { 'Tus-Resumable': '1.0.0', Accept: 'application/json', ...headers };
    for (const [name, value] of Object.entries(sent)) xhr.setRequestHeader(name, value);
    if (moved) {
      xhr.upload.onprogress = (event) => moved(event.loaded, false);
      xhr.upload.onload = (event) => moved(event.loaded, true);
    } else {
      xhr.timeout = 30_000;
    }
    xhr.onload = () => (xhr.status >= 200 && xhr.status < 300 ? resolve(xhr) : reject(refusal(xhr, method !== 'POST')));
    xhr.onerror = xhr.ontimeout = xhr.onabort = lost;
    xhr.onloadend = () => signal?.removeEventListener('abort', abort);
    signal?.addEventListener('abort', abort);
    xhr.send(body);
  });
}

/** @param {string} text */
function base64(text) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}

/**
 * The URL of an upload, if it is one of this server's.
 * @param {string | null} location
 */
function uploadUrl(location) {
  const endpoint = new URL(page.endpoint, document.baseURI);
  const url = new URL(location || '', endpoint);
  if (url.origin !== endpoint.origin || !url.pathname.startsWith(`${endpoint.pathname}/`)) {
    throw new UploadError('never', 'foreign-location');
  }
  return url.href;
}

/**
 * What an answer tells of an upload.
 * @typedef {{offset: number, expires: number, finished: boolean}} Told
 * @param {XMLHttpRequest} xhr
 * @returns {Told}
 */
function toldBy(xhr) {
  const offset = Number(xhr.getResponseHeader('Upload-Offset') ?? NaN);
  // An answer without it came from something in between.
  if (!Number.isSafeInteger(offset) || offset < 0) throw new UploadError('fault', 'no-offset');
  const expires = Date.parse(xhr.getResponseHeader('Upload-Expires') ?? '') || 0;
  return { offset, expires, finished: xhr.getResponseHeader('Content-Location') !== null };
}

/**
 * Creates an upload, in the same submission as `anchor`.
 * @param {{path: string, size: number, kind: string, blob: Blob}} upload
 * @param {string} anchor the URL of another upload, or nothing
 */
async function createUpload({ path, size, kind, blob }, anchor) {
  const metadata = [];
  if (path) metadata.push(`filename ${base64(path)}`);
  if (blob.type) metadata.push(`filetype ${base64(blob.type)}`);
  /** @type {{[name: string]: string}} */
  const headers = { 'Upload-Length': String(size), 'Upload-Metadata': metadata.join(',') };
  if (!metadata.length) delete headers['Upload-Metadata'];
  if (anchor) headers['Sealslot-Submission'] = new URL(anchor).pathname;
  if (kind === 'fields') headers['Sealslot-Kind'] = kind;
  const xhr = await request('POST', page.endpoint, { headers });
  return { url: uploadUrl(xhr.getResponseHeader('Location')), told: toldBy(xhr) };
}

/**
 * Asks how far an upload is. This also ends a request that the server may still be reading.
 * @param {string} url
 * @param {number} size
 * @param {AbortSignal} signal
 */
async function askOffset(url, size, signal) {
  const xhr = await request('HEAD', url, { signal });
  if (xhr.getResponseHeader('Upload-Length') !== String(size)) throw new UploadError('anew', 'other-length');
  return toldBy(xhr);
}

/**
 * Sends what follows an offset, in one body.
 * @param {string} url
 * @param {Blob} blob
 * @param {number} offset
 * @param {AbortSignal} signal
 * @param {(sent: number, all: boolean) => void} moved
 */
async function appendRest(url, blob, offset, signal, moved) {
  const headers = { 'Content-Type': 'application/offset+octet-stream', 'Upload-Offset': String(offset) };
  // Without a type of its own: a Blob's would be taken for the body's.
  const body = blob.slice(offset, blob.size, headers['Content-Type']);
  const xhr = await request('PATCH', url, { headers, body, signal, moved });
  return toldBy(xhr);
}

/**
 * The receipt of an upload, or nothing while it is not finished.
 * @param {string} url
 * @param {AbortSignal} [signal]
 * @returns {Promise<Receipt | null>}
 */
async function fetchReceipt(url, signal) {
  const xhr = await request('GET', url, { signal });
  if (xhr.status === 204) return null;
  try {
    return JSON.parse(xhr.responseText);
  } catch {
    throw new UploadError('fault', 'no-receipt');
  }
}

/**
 * Cancels an upload, also while the page is being closed. Where that fails, it expires.
 * @param {string} url
 */
function cancelUpload(url) {
  const headers = { 'Tus-Resumable': '1.0.0' };
  return fetch(url, { method: 'DELETE', headers, keepalive: true }).catch(() => {});
}
