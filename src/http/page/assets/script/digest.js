// SHA-256 of a file as the device has it when it is read: what the server received is compared with it before it counts. Browsers
// send what a file holds at each moment, and one that is changed meanwhile, or between two visits, would arrive mixed.

/** What is no larger is digested by the browser itself, which takes it whole. */
const IN_MEMORY = 32 << 20;
/** As much of what is larger is read at a time: what else the page does comes in between. */
const PIECE = 2 << 20;
/** The library for the rest, loaded where there is something for it: no browser digests piece by piece. */
const LIBRARY = '/noble-hashes/sha2.js';

/**
 * Fails where the file cannot be read, or is not as long any more.
 * @param {Blob} blob @param {(part: number) => boolean} goesOn told how much is done; whether there is use for the rest
 * @returns {Promise<Uint8Array | null>} nothing where there was no use for it
 */
async function sha256(blob, goesOn) {
  if (blob.size <= IN_MEMORY) return digestOf(await bytesOf(blob));
  const library = await import(LIBRARY).catch(() => {
    throw new UploadError('fault', 'no-library');
  });
  const hash = library.sha256.create();
  const reader = readerOf(blob);
  let buffer = new ArrayBuffer(PIECE);
  let at = 0;
  while (goesOn(at / blob.size)) {
    const { done, value } = await reader.read(new Uint8Array(buffer)).catch(() => {
      throw new UploadError('never', 'file-changed');
    });
    if (done && at !== blob.size) throw new UploadError('never', 'file-changed');
    if (done) return hash.digest();
    hash.update(value);
    at += value.byteLength;
    buffer = value.buffer;
  }
  reader.cancel().catch(() => {});
  return null;
}

/**
 * Reads into one buffer over and over: pieces in buffers of their own are left lying about until browsers find time, by hundreds of
 * megabytes. Where that is not to be had, a reader that does not look at the buffer. @param {Blob} blob
 * @returns {{ read(into: Uint8Array<ArrayBuffer>): Promise<{ done: boolean, value?: any }>, cancel(): Promise<void> }}
 */
function readerOf(blob) {
  try {
    return blob.stream().getReader({ mode: 'byob' });
  } catch {
    return blob.stream().getReader();
  }
}

/** @param {BufferSource} bytes */
async function digestOf(bytes) {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
}

/** All of it, or a failure. @param {Blob} blob */
async function bytesOf(blob) {
  const bytes = await blob.arrayBuffer().catch(() => null);
  if (bytes?.byteLength !== blob.size) throw new UploadError('never', 'file-changed');
  return bytes;
}

/** @param {Uint8Array} bytes */
function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** As a receipt must have it to be one (RFC 9530). @param {Uint8Array} digest */
function reprDigest(digest) {
  return { 'Repr-Digest': `sha-256=:${btoa(String.fromCharCode(...digest))}:` };
}
