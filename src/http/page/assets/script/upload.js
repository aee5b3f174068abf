// One upload's life: waiting -> preparing -> sending -> finishing -> done, and failed where it cannot be helped. It is
// `reconnecting` wherever an answer did not come; `paused` or `cancelled` when somebody says so. Whatever happened before, the
// server is asked how far it is, and is sent what it lacks.

const UNDER_WAY = ['preparing', 'sending', 'finishing', 'reconnecting'];
/** For as long may a connection stand still, in seconds: while it sends, and while the server stores. */
const STILL_SENDING = 60;
const STILL_FINISHING = 300;
/** As often in a row may the server fail, or lose what it had. */
const MOST_FAULTS = 8;
const MOST_BEGINNINGS = 4;
/** As much is read into memory and sent, in bytes. */
const AT_A_TIME = 4 << 20;
/** Trying the same again is in vain. */
const HOPELESS = ['file-changed', 'too-large', 'name-too-long', 'fields-too-large', 'type-not-accepted', 'link-expired', 'link-revoked', 'no-such-link'];

class Upload {
  /** @type {State} */
  state = 'waiting';
  /** A capability: never shown. Empty until the upload was created. */
  url = '';
  /** Bytes that the server has, or that are on their way to it. */
  sent = 0;
  /** What went wrong last, and a message to show when it goes on. */
  problem = '';
  note = '';
  notedPart = 0;
  /** How much of it was read again, where it is; else less than nothing. */
  checked = -1;
  /** Refused before anything was sent. */
  refused = false;
  /** Whether others may join its submission. */
  joinable = true;
  /** @type {Receipt | null} */
  receipt = null;
  speed = new Speed();

  /** Ends what is under way. @type {AbortController | undefined} */
  #turn;
  /** Breaks off one request of it. @type {AbortController | undefined} */
  #request;
  /** Ends a wait. @type {(() => void) | undefined} */
  #wake;
  /** When all that was begun has come to rest: there are never two requests for one upload. */
  #rest = Promise.resolve();
  #fingerprint = '';
  /** Where it is remembered: lets other tabs have it. @type {(() => void) | null} */
  #release = null;
  /** What the server said that it has, and that it has all of it. */
  #offset = 0;
  #finished = false;
  /** What it holds: as it is sent, or read again when it was. @type {Uint8Array | null} */
  #sha256 = null;
  /** Whether the server may have been told that it is complete. */
  #inDoubt = false;
  /** Whether it was begun in another visit, perhaps of another version. */
  #isRecalled = false;
  /** Whether it is only asked after because it was cancelled. */
  #isUnwanted = false;
  /** Whether it has to be asked. */
  #unsure = true;
  #attempts = 0;
  #faults = 0;
  #beginnings = 0;
  /** Seconds without movement. */
  #still = 0;

  /** @param {Blob} blob @param {string} path empty for the texts of the form */
  constructor(blob, path) {
    this.blob = blob;
    this.path = path;
    this.size = blob.size;
  }

  get name() {
    return this.path || say('fields-name');
  }

  get underWay() {
    return UNDER_WAY.includes(this.state);
  }

  get pausable() {
    return this.state === 'waiting' || (this.underWay && this.state !== 'finishing' && !this.#isUnwanted);
  }

  /** Cancelled, and perhaps too late. */
  get unwanted() {
    return this.#isUnwanted;
  }

  get hopeful() {
    return this.state === 'failed' && !HOPELESS.includes(this.problem);
  }

  get resumable() {
    return this.hopeful || this.state === 'paused';
  }

  /** How much of it is on the server, from 0 to 1. */
  get part() {
    return this.state === 'done' ? 1 : this.sent / (this.size || 1);
  }

  /** @param {State} state */
  #become(state) {
    if (!['sending', 'finishing'].includes(state)) this.speed.reset();
    this.checked = -1;
    this.state = state;
    this.#still = 0;
    changed(this);
  }

  /** @param {string} code */
  fail(code, refused = false) {
    this.problem = code;
    this.refused = refused;
    this.#become('failed');
  }

  /** Lets it begin, go on or try again when its turn comes. */
  wait() {
    this.#attempts = this.#faults = this.#beginnings = 0;
    this.#become('waiting');
  }

  start() {
    const turn = (this.#turn = new AbortController());
    this.#become('preparing');
    this.#rest = this.#rest.then(() => this.#go(turn.signal));
  }

  #stop() {
    this.#turn?.abort();
    this.#request?.abort();
    this.#wake?.();
  }

  pause() {
    this.#stop();
    this.#become('paused');
  }

  /** Where the server may have been told that it is complete, it is asked until it answers: then it was received. */
  cancel() {
    if (this.state === 'done') return;
    this.#stop();
    if (this.#inDoubt && !this.#isUnwanted && this.state !== 'failed') {
      this.#isUnwanted = true;
      return this.start();
    }
    // It was asked in vain, and is not waited for any longer.
    if (this.#inDoubt) uncertain.push(this.name);
    this.#become('cancelled');
    this.#rest = this.#rest.then(() => this.#abandon());
  }

  /** Breaks off what stands still. @param {number} seconds since the last time */
  watch(seconds) {
    // A machine that slept has not waited.
    this.#still += Math.min(seconds, 15);
    if (this.state === 'sending' && this.#still > STILL_SENDING) this.#request?.abort();
    if (this.state === 'finishing' && this.#still > STILL_FINISHING) this.#request?.abort();
  }

  /** The network may have come back or changed: goes on at once, and soon trusts no connection that does not move. */
  nudge() {
    const request = this.#request;
    this.#attempts = 0;
    this.#wake?.();
    setTimeout(() => this.state === 'sending' && this.#still >= 3 && request === this.#request && request?.abort(), 4000);
  }

  /** Finds where the same file was left the last time. Fails where it cannot be read. */
  async recall() {
    if (!(this.blob instanceof File) || this.#fingerprint) return;
    const key = await fingerprint(this.path, this.blob);
    if (this.size >= REMEMBERED_FROM) this.#release = await claim(key);
    this.#fingerprint = key;
    if (this.#release) this.url ||= remembered(key);
    this.#isRecalled = this.url !== '';
    if (this.state === 'cancelled') this.#release?.();
  }

  /** Fails where the file is not the one that was chosen any more. */
  async #checkFile() {
    if (!(this.blob instanceof File)) return;
    try {
      if (!this.#fingerprint) return await this.recall();
      if ((await fingerprint(this.path, this.blob)) === this.#fingerprint) return;
    } catch {
      // It cannot be read.
    }
    throw new UploadError('never', 'file-changed');
  }

  #forget() {
    if (this.#release) forget(this.#fingerprint);
    this.#release?.();
    this.#release = null;
  }

  /** Lets go of what the server has of it. */
  #abandon() {
    if (this.url && !this.#finished) cancelUpload(this.url);
    if (this.#release) forget(this.#fingerprint);
    this.url = '';
    this.sent = this.#offset = 0;
    this.#finished = this.#inDoubt = false;
    if (this.state === 'cancelled') this.#forget();
  }

  /** @param {AbortSignal} turn */
  async #go(turn) {
    this.#unsure = true;
    try {
      if (!turn.aborted && !this.#isUnwanted) await this.#checkFile();
      while (!turn.aborted && !this.receipt) {
        await this.#step(turn).catch((error) => this.#recover(error, turn));
      }
      if (turn.aborted) return;
      this.#forget();
      this.#isUnwanted = false;
      this.#become('done');
    } catch (error) {
      if (turn.aborted) return;
      const { code, follows } = asUploadError(error);
      this.#isUnwanted = false;
      if (code === 'file-changed') this.#abandon();
      this.fail(code);
      if (follows === 'person') hold(code);
    }
  }

  /** Does what comes next, up to the receipt. @param {AbortSignal} turn */
  async #step(turn) {
    const { signal } = (this.#request = new AbortController());
    // Not broken off by a pause: what is created then would have no owner, and stay until it expires.
    if (!this.url) await this.#create(turn);
    else if (this.#unsure) await this.#ask(signal);
    if (turn.aborted) return;
    if (this.#finished) this.receipt = await this.#fetch(turn, signal);
    else if (this.#isUnwanted) this.#giveUp();
    else if (this.size <= AT_A_TIME) await this.#sendAtOnce(turn, signal);
    else await this.#sendStreamed(turn, signal);
  }

  /** It was cancelled in time. */
  #giveUp() {
    this.#turn?.abort();
    this.#become('cancelled');
    this.#abandon();
  }

  /** What fits in memory is read once: it is sent, and held to its digest, as it was then. @param {AbortSignal} turn @param {AbortSignal} signal */
  async #sendAtOnce(turn, signal) {
    const bytes = await bytesOf(this.blob);
    const headers = reprDigest((this.#sha256 = await digestOf(bytes)));
    if (!turn.aborted) await this.#append(true, signal, { headers, body: new Blob([bytes.slice(this.#offset)]) });
  }

  /** What the browser reads while it sends is read once more when it has, and is complete only where that is the same. @param {AbortSignal} turn @param {AbortSignal} signal */
  async #sendStreamed(turn, signal) {
    if (this.#offset < this.size) {
      this.#sha256 = null;
      await this.#append(false, signal, { body: this.blob.slice(this.#offset) });
    }
    if (turn.aborted) return;
    if (this.state !== 'finishing') this.#become('finishing');
    const digest = await this.#digest(turn);
    if (digest) await this.#append(true, signal, { headers: reprDigest(digest) });
  }

  /** What the file holds now, unless that was asked before. @param {AbortSignal} turn */
  async #digest(turn) {
    this.#sha256 ??= await sha256(this.blob, (part) => {
      this.#still = 0;
      this.checked = part;
      changed(this);
      return !turn.aborted;
    });
    this.checked = -1;
    return turn.aborted ? null : this.#sha256;
  }

  /**
   * The receipt of what was complete before: of another visit, or its answer was lost. It has to be that of what was chosen.
   * @param {AbortSignal} turn @param {AbortSignal} signal
   */
  async #fetch(turn, signal) {
    if (this.state !== 'finishing') this.#become('finishing');
    const receipt = await fetchReceipt(this, signal);
    if (!receipt) throw new UploadError('fault', 'unfinished');
    const digest = this.#isUnwanted ? null : await this.#digest(turn);
    if (!digest || hex(digest) === receipt.sha256) return receipt;
    this.#abandon();
    return null;
  }

  /** @param {AbortSignal} turn */
  #create(turn) {
    return join(turn, async (anchor) => {
      const xhr = await createUpload(this, anchor);
      this.url = uploadUrl(xhr.getResponseHeader('Location'));
      this.joinable = true;
      this.#offset = 0;
      this.#learn(xhr);
    });
  }

  /** @param {AbortSignal} signal */
  async #ask(signal) {
    const xhr = await request('HEAD', this.url, { signal });
    if (xhr.getResponseHeader('Upload-Length') !== String(this.size)) throw new UploadError('anew', 'other-length');
    this.#learn(xhr);
    if (this.#offset) this.note = 'resumed';
    this.notedPart = this.part;
  }

  /** @param {boolean} complete @param {AbortSignal} signal @param {RequestOptions} options */
  async #append(complete, signal, options) {
    const before = this.#offset;
    this.#unsure = true;
    this.#inDoubt ||= complete;
    this.#become(before < this.size ? 'sending' : 'finishing');
    this.#count(before);
    const moved = (/** @type {number} */ loaded, /** @type {boolean} */ all) => {
      if (signal.aborted) return;
      this.#count(Math.min(before + loaded, this.size));
      if (all) this.#become('finishing');
    };
    const xhr = await append(this.url, before, complete, { ...options, signal, moved });
    this.#learn(xhr);
    if (complete) this.receipt = receiptFrom(xhr, this);
  }

  /** @param {number} sent */
  #count(sent) {
    this.#still = 0;
    for (const speed of [this.speed, totalSpeed]) speed.add(Math.max(0, sent - this.sent));
    this.sent = sent;
    if (this.speed.rate() >= 1) this.note = '';
    changed(this);
  }

  /** What an answer says of the upload. @param {XMLHttpRequest} xhr */
  #learn(xhr) {
    const offset = Number(xhr.getResponseHeader('Upload-Offset') ?? NaN);
    if (!(offset >= 0 && offset <= this.size)) throw new UploadError('fault', 'no-offset');
    if (offset > this.#offset) this.#attempts = this.#faults = 0;
    this.#offset = this.sent = offset;
    this.#unsure = false;
    this.#finished ||= xhr.getResponseHeader('Upload-Complete') === '?1';
    this.#inDoubt = this.#finished;
    const [, seconds] = /max-age=(\d+)/.exec(xhr.getResponseHeader('Upload-Limit') ?? '') ?? [];
    if (this.#release && seconds) remember(this.#fingerprint, this.url, Date.now() + Number(seconds) * 1000);
  }

  /** After a failure: waits for the next attempt, or fails with what cannot be helped. @param {unknown} error @param {AbortSignal} turn */
  async #recover(error, turn) {
    if (turn.aborted) return;
    const { follows, code, wait } = asUploadError(error);
    this.#unsure = true;
    if (follows === 'anew' && this.#finished) {
      // All of it arrived, and that has expired since: nothing is sent twice.
      this.receipt = { size: this.size, name: this.path };
      return;
    }
    if (code === 'digest-mismatch') {
      // It is gone.
      this.url = '';
      if (!this.#isRecalled) throw new UploadError('never', 'file-changed');
      this.#isRecalled = false;
      return this.#abandon();
    }
    if (follows === 'anew' && this.#isUnwanted) return this.#giveUp();
    if (follows === 'anew' && ++this.#beginnings < MOST_BEGINNINGS) {
      if (this.sent) this.note = 'restarted';
      // It is gone: there is nothing to cancel.
      this.url = '';
      return this.#abandon();
    }
    if (!['again', 'join', 'fault'].includes(follows) || (follows === 'fault' && ++this.#faults >= MOST_FAULTS)) throw error;
    this.problem = code;
    if (this.state !== 'reconnecting') this.#become('reconnecting');
    // A browser that cannot read a file says that the connection is lost.
    if (!this.#isUnwanted) await this.#checkFile();
    const seconds = Math.max(wait, Math.min(2 ** this.#attempts++, 30)) * (0.75 + Math.random() / 2);
    if (turn.aborted) return;
    await new Promise((resolve) => {
      this.#wake = () => resolve(null);
      setTimeout(resolve, seconds * 1000);
    });
  }
}

/** What the page itself did not expect counts as a fault, too. @param {unknown} error */
function asUploadError(error) {
  return error instanceof UploadError ? error : new UploadError('fault', 'script');
}
