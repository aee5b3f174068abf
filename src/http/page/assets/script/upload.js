// One upload's life, from being chosen to its receipt:
//
//   waiting -> preparing -> sending -> finishing -> done
//
// with `reconnecting` wherever an answer failed to come, `paused` and `cancelled` when somebody says so, and `failed`.
// Whatever happens in between, the server is asked how far it is, and is sent what it lacks.

/** @typedef {'waiting' | 'preparing' | 'sending' | 'finishing' | 'reconnecting' | 'paused' | 'done' | 'failed' | 'cancelled'} State */

const UNDER_WAY = new Set(['preparing', 'sending', 'finishing', 'reconnecting']);
/** No longer than this, in seconds, may a connection stand still: while it sends, and while the server finishes. */
const STANDSTILL = { sending: 60, finishing: 300 };
/** As often in a row may the server fail, or not know what it had, before it goes on only when asked to. */
const MOST_FAULTS = 8;
const MOST_BEGINNINGS = 4;
/** As long is something out of the ordinary told, in milliseconds. */
const NOTE_STANDS = 6000;
/** Failures after which trying the same again is in vain. */
const HOPELESS = new Set(['file-changed', 'too-large', 'name-too-long', 'fields-too-large']);

class Upload {
  /** @type {State} */
  state = 'waiting';
  /** What the server said that it has. */
  offset = 0;
  /** The same, with what is on its way. */
  sent = 0;
  /** The URL; empty until it was created. A capability: never shown. */
  url = '';
  /** What went wrong last, as a code. */
  problem = '';
  /** Refused before anything was sent. */
  refused = false;
  /** Whether others may join its submission. */
  anchoring = true;
  /** @type {Receipt | null} */
  receipt = null;
  speed = new Speed();
  /** The key of a message to show for a while. */
  note = '';

  /** What the file was known by when it was first read. */
  #fingerprint = '';
  /** @type {(() => void) | null} Where the upload is remembered: what gives it back to other tabs. */
  #release = null;
  /** Ends what is under way for good. @type {AbortController | null} */
  #turn = null;
  /** Breaks off one request. @type {AbortController | null} */
  #request = null;
  /** When everything that was begun has come to rest: there are never two requests for one upload. */
  #settled = Promise.resolve();
  /** Ends a wait for the next attempt. @type {(() => void) | null} */
  #wake = null;
  /** Whether the server has to be asked how far it is. */
  #unsure = false;
  /** Whether the server said that it is finished. */
  #confirmed = false;
  /** Whether it goes on from an earlier visit. */
  #recalled = false;
  #unwanted = false;
  #attempts = 0;
  #faults = 0;
  #beginnings = 0;
  #still = 0;

  /**
   * @param {Queue} queue
   * @param {Blob} blob
   * @param {string} path
   * @param {'file' | 'fields'} kind
   */
  constructor(queue, blob, path, kind = 'file') {
    this.queue = queue;
    this.blob = blob;
    this.path = path;
    this.kind = kind;
    this.size = blob.size;
  }

  get name() {
    return this.kind === 'fields' ? say('fields-name') : this.path;
  }

  get underWay() {
    return UNDER_WAY.has(this.state);
  }

  /** How much of it is on the server, from 0 to 1. */
  get part() {
    if (this.state === 'done') return 1;
    return this.size ? this.sent / this.size : 0;
  }

  get pausable() {
    return this.state === 'waiting' || (this.underWay && this.state !== 'finishing');
  }

  /** Whether it may still work when it is tried again. */
  get hopeful() {
    return this.state === 'failed' && !HOPELESS.has(this.problem);
  }

  /** @param {State} state */
  #become(state) {
    if (state === 'reconnecting' || state === 'paused') this.speed.reset();
    this.state = state;
    this.#still = 0;
    this.queue.changed(this, true);
  }

  /** @param {string} key */
  #tell(key) {
    this.note = key;
    setTimeout(() => {
      if (this.note === key) this.note = '';
      this.queue.changed(this);
    }, NOTE_STANDS);
  }

  /** Refuses it before anything is sent. @param {string} code */
  refuse(code) {
    this.problem = code;
    this.refused = HOPELESS.has(code);
    this.#become('failed');
  }

  /** Lets it begin, or go on, when its turn comes. */
  wait() {
    this.problem = '';
    this.#attempts = this.#faults = this.#beginnings = 0;
    this.#become('waiting');
  }

  start() {
    const turn = new AbortController();
    this.#turn = turn;
    this.#unsure = true;
    this.#become('preparing');
    this.#settled = this.#settled.then(() => this.#go(turn.signal));
  }

  pause() {
    this.#stop();
    this.#become('paused');
  }

  /** Gives it up. Where the server may have all of it already, it is asked first: then it was received. */
  cancel() {
    if (this.state === 'done' || this.#unwanted) return;
    const inDoubt = this.url && this.size === this.sent;
    this.#unwanted = true;
    this.#stop();
    this.#become(inDoubt ? 'finishing' : 'cancelled');
    this.#settled = this.#settled.then(() => this.#discard());
  }

  async #discard() {
    const ending = setTimeout(() => this.#become('cancelled'), 10_000);
    if (this.url && this.sent === this.size) this.receipt = await fetchReceipt(this.url).catch(() => null);
    clearTimeout(ending);
    this.#forget();
    if (this.receipt) return this.#become('done');
    if (this.url) void cancelUpload(this.url);
    this.anchoring = false;
    if (this.state !== 'cancelled') this.#become('cancelled');
  }

  #stop() {
    this.#turn?.abort();
    this.#request?.abort();
    this.#wake?.();
  }

  /**
   * Breaks off a connection that has stood still for too long.
   * @param {number} seconds since it was asked last
   */
  watch(seconds) {
    // A machine that slept has not waited.
    this.#still += Math.min(seconds, 15);
    const longest = this.state === 'sending' || this.state === 'finishing' ? STANDSTILL[this.state] : Infinity;
    if (this.#still > longest) this.#request?.abort();
  }

  /** The network may be back, or may have changed: goes on at once, and trusts no connection that does not move. */
  nudge() {
    this.#attempts = 0;
    this.#wake?.();
    const request = this.#request;
    setTimeout(() => {
      if (request === this.#request && this.#still >= 3) request?.abort();
    }, 4000);
  }

  /** Finds out where an earlier hand-in of the same file was broken off. Fails where the file cannot be read. */
  async recall() {
    if (!(this.blob instanceof File) || this.#fingerprint) return;
    const key = await fingerprint(this.path, this.blob);
    if (this.size >= REMEMBERED_FROM) this.#release = await claim(key);
    this.#fingerprint = key;
    const known = this.#release && remembered(key);
    if (!known || this.#unwanted || this.url) return;
    this.url = known.url;
    this.#recalled = true;
  }

  #forget() {
    if (this.#release) forget(this.#fingerprint);
    this.#release?.();
    this.#release = null;
  }

  /** Fails where the file is not what it was when it was chosen. */
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

  /** @param {AbortSignal} turn */
  async #go(turn) {
    try {
      if (turn.aborted) return;
      await this.#checkFile();
      while (!turn.aborted) {
        try {
          if (await this.#step(turn)) break;
        } catch (error) {
          if (!turn.aborted) await this.#recover(error, turn);
        }
      }
      if (turn.aborted) return;
      this.#forget();
      this.#become('done');
    } catch (error) {
      if (turn.aborted) return;
      this.problem = error instanceof UploadError ? error.code : 'script';
      if (this.problem === 'file-changed') this.#abandon();
      this.#become('failed');
      if (error instanceof UploadError && error.follows === 'person') this.queue.hold(error.code);
    }
  }

  /**
   * Does what comes next. Gives true when all is done.
   * @param {AbortSignal} turn
   */
  async #step(turn) {
    const request = new AbortController();
    this.#request = request;
    const { signal } = request;
    if (!this.url) {
      // Not broken off, whatever happens: what was created would have no owner.
      await this.#create(turn);
    } else if (this.#unsure) {
      this.#learn(await askOffset(this.url, this.size, signal));
      if (this.#recalled && this.offset) this.#tell('resumed');
      this.#recalled = this.#unsure = false;
    }
    if (turn.aborted) return false;
    if (this.offset < this.size) await this.#append(signal);
    if (turn.aborted) return false;
    if (this.state !== 'finishing') this.#become('finishing');
    this.receipt = await this.#fetchReceipt(signal);
    // All bytes are there, but the end of the upload is not: saying nothing more brings it about.
    if (!this.receipt) this.#learn(await appendRest(this.url, this.blob, this.size, signal, () => {}));
    return Boolean(this.receipt);
  }

  /** @param {AbortSignal} turn */
  async #create(turn) {
    await this.queue.join(turn, async (anchor) => {
      const { url, told } = await createUpload(this, anchor);
      this.url = url;
      this.anchoring = true;
      this.offset = 0;
      this.#unsure = this.#confirmed = false;
      this.#learn(told);
    });
  }

  /** @param {AbortSignal} signal */
  async #append(signal) {
    this.#become('sending');
    this.#unsure = true;
    const before = this.offset;
    this.speed.add(0);
    this.queue.speed.add(0);
    this.#learn(
      await appendRest(this.url, this.blob, before, signal, (loaded, all) => {
        if (signal.aborted) return;
        const sent = Math.min(before + loaded, this.size);
        this.#still = 0;
        this.speed.add(Math.max(0, sent - this.sent));
        this.queue.speed.add(Math.max(0, sent - this.sent));
        this.sent = sent;
        if (all) this.#become('finishing');
        else this.queue.changed(this);
      }),
    );
    this.#unsure = false;
  }

  /** @param {AbortSignal} signal */
  async #fetchReceipt(signal) {
    try {
      return await fetchReceipt(this.url, signal);
    } catch (error) {
      if (!(error instanceof UploadError) || error.follows !== 'anew' || !this.#confirmed) throw error;
      // It was told that all arrived, and expired since: it is not sent twice.
      return { size: this.size, name: this.path, kind: this.kind };
    }
  }

  /** @param {Told} told */
  #learn({ offset, expires, finished }) {
    if (offset > this.offset) this.#attempts = this.#faults = this.#beginnings = 0;
    this.offset = this.sent = offset;
    this.#confirmed ||= finished;
    if (this.#release && expires) remember(this.#fingerprint, this.url, expires);
  }

  /** Lets go of what the server has, or had, of it. */
  #abandon() {
    if (this.url && !this.#confirmed) void cancelUpload(this.url);
    if (this.#release) forget(this.#fingerprint);
    this.url = '';
    this.offset = this.sent = 0;
  }

  /**
   * After a failure: waits until it is time for the next attempt, or fails with what cannot be helped.
   * @param {unknown} error
   * @param {AbortSignal} turn
   */
  async #recover(error, turn) {
    if (!(error instanceof UploadError)) throw error;
    this.#unsure = true;
    if (error.follows === 'anew') {
      if (++this.#beginnings >= MOST_BEGINNINGS) throw error;
      if (this.sent || this.#attempts) this.#tell('restarted');
      // It is not there to be cancelled.
      this.url = '';
      this.#abandon();
      return;
    }
    if (error.follows === 'person' || error.follows === 'never') throw error;
    if (error.follows === 'fault' && ++this.#faults >= MOST_FAULTS) throw error;
    this.problem = error.code;
    if (this.state !== 'reconnecting') this.#become('reconnecting');
    // A browser fails a request whose file it cannot read as it does one whose connection is lost.
    await this.#checkFile();
    const seconds = Math.max(error.wait, Math.min(2 ** this.#attempts, 30));
    this.#attempts += 1;
    if (!turn.aborted) await this.#rest(seconds * (0.75 + Math.random() / 2));
  }

  /** @param {number} seconds */
  async #rest(seconds) {
    await new Promise((resolve) => {
      this.#wake = () => resolve(null);
      setTimeout(resolve, seconds * 1000);
    });
    this.#wake = null;
  }
}
