// The protocol: Resumable Uploads for HTTP (draft-ietf-httpbis-resumable-upload). An upload is created without a byte of it, so
// that its URL is known before there is anything to lose; and it is complete only when this page says so, once it has seen that
// the file is still the one that was chosen.

class UploadError extends Error {
  /** @param {Follows} follows @param {string} code @param {number} wait seconds that the server asks for */
  constructor(follows, code, wait = 0) {
    super(code);
    this.follows = follows;
    this.code = code;
    this.wait = wait;
  }
}

/** What a refusal means. @param {XMLHttpRequest} xhr @param {boolean} created whether it was of a request for an upload */
function refusal(xhr, created) {
  const { status } = xhr;
  const wait = Math.min(Number(xhr.getResponseHeader('Retry-After')) || 0, 300);
  let code = `http-${status}`;
  try {
    code = JSON.parse(xhr.responseText).code ?? code;
  } catch {
    // An answer to HEAD, or from something in between.
  }
  // Whoever made the link has to do something, unless something smaller is sent.
  if (code.startsWith('link-') || code === 'no-such-link') return new UploadError(code === 'link-bytes-used-up' ? 'never' : 'person', code);
  if (code === 'unknown-submission') return new UploadError('join', code);
  if (created && (status === 404 || status === 410)) return new UploadError('anew', code);
  if (status === 401 || status === 507) return new UploadError('person', code);
  // Its own words, where it is one of ours: `too-many-uploads`, `too-many-requests`.
  if (status === 429 && code.startsWith('too-many-')) return new UploadError('again', code, wait);
  if ([429, 502, 503, 504].includes(status)) return new UploadError('again', 'busy', wait);
  // What is complete already is asked for its receipt.
  if ([408, 409, 423].includes(status) || ['body-incomplete', 'completed-upload'].includes(code)) return new UploadError('again', code, wait);
  return new UploadError(status >= 500 ? 'fault' : 'never', code, wait);
}

/**
 * One request. After an abort nothing of it is heard any more.
 * @param {string} method @param {string} url @param {RequestOptions} [options] @returns {Promise<XMLHttpRequest>}
 */
function request(method, url, { headers, body, signal, moved } = {}) {
  return new Promise((resolve, reject) => {
    const lost = () => reject(new UploadError('again', 'network'));
    if (signal?.aborted) return lost();
    const xhr = new XMLHttpRequest();
    const abort = () => xhr.abort();
    xhr.open(method, url);
    const all = { Accept: 'application/json', ...headers };
    for (const [name, value] of Object.entries(all)) xhr.setRequestHeader(name, value);
    if (moved) {
      // How long a body takes is for the watch to judge.
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

/** The URL of an upload, if it is one of this server's. @param {string | null} location */
function uploadUrl(location) {
  // Also what is created at a link is one of these.
  const uploads = new URL('/uploads/', document.baseURI);
  const url = new URL(location ?? '', uploads);
  if (url.href.length > uploads.href.length && url.href.startsWith(uploads.href)) return url.href;
  throw new UploadError('never', 'foreign-location');
}

/** As RFC 8187 has it. @param {string} text */
function extended(text) {
  return `UTF-8''${encodeURIComponent(text).replace(/['()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)}`;
}

/** Creates an upload, in the submission of another one. @param {Upload} upload @param {string} [anchor] that one's URL */
function createUpload({ path, blob }, anchor) {
  /** @type {{[name: string]: string}} */
  const headers = { 'Upload-Complete': '?0', 'Upload-Length': String(blob.size) };
  if (path) headers['Content-Disposition'] = `attachment; filename*=${extended(path)}`;
  if (blob.type) headers['Content-Type'] = blob.type;
  if (anchor) headers['Sealslot-Submission'] = new URL(anchor).pathname;
  if (!path) headers['Sealslot-Kind'] = 'fields';
  return request('POST', page.endpoint, { headers });
}

/**
 * Sends what follows an offset, in one body.
 * @param {string} url @param {number} offset @param {boolean} complete whether that is all @param {RequestOptions} options
 */
function append(url, offset, complete, options) {
  const headers = {
    'Content-Type': 'application/partial-upload',
    'Upload-Offset': String(offset),
    'Upload-Complete': complete ? '?1' : '?0',
    ...options.headers,
  };
  return request('PATCH', url, { ...options, headers });
}

/** The receipt; nothing while it is not complete. @param {Upload} upload @param {AbortSignal} [signal] */
async function fetchReceipt(upload, signal) {
  const xhr = await request('GET', upload.url, { signal });
  return xhr.status === 204 ? null : receiptFrom(xhr, upload);
}

/** What was received, if that is what an answer says. @param {XMLHttpRequest} xhr @param {Upload} upload @returns {Receipt} */
function receiptFrom(xhr, { url, size }) {
  const id = new URL(url).pathname.split('/').pop()?.split('.')[0];
  try {
    const receipt = JSON.parse(xhr.responseText);
    if (receipt.id === id && receipt.size === size && /^[0-9a-f]{64}$/.test(receipt.sha256)) return receipt;
  } catch {
    // Something in between answered.
  }
  throw new UploadError('fault', 'no-receipt');
}

/** Cancels, even while the page is being closed. Where that fails, the upload expires. @param {string} url */
function cancelUpload(url) {
  fetch(url, { method: 'DELETE', keepalive: true }).catch(() => {});
}
