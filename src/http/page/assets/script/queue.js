// What is to be sent, in order, and how many of it at once.

/** So many at once; more of them while they are small, because then most of the time goes into waiting for answers. */
const AT_ONCE = 3;
const SMALL_AT_ONCE = 6;
const SMALL = 1_000_000;
const MOST_FILES = 10_000;

class Queue {
  /** @type {Upload[]} In the order in which they were added; those that were cancelled are gone. */
  uploads = [];
  /** Whether Send was pressed. */
  sending = false;
  speed = new Speed();
  /** Told of every change: which upload, and whether it is in another state. @type {(upload: Upload, state: boolean) => void} */
  onchange = () => {};
  /** What there is already, so that nothing is sent twice. @type {Set<string>} */
  #known = new Set();
  /** @type {Promise<unknown> | null} The creation that the others wait for, to join it. */
  #founding = null;
  #pumping = false;
  /** @type {Set<Upload>} */
  #running = new Set();
  /** Nothing in front of this waits. */
  #next = 0;
  /** Counts hand-ins, so that what belongs to an earlier one is told apart. */
  #run = 0;

  /** @param {Upload} upload */
  #identity({ path, size, blob }) {
    return JSON.stringify([path, size, blob instanceof File ? blob.lastModified : 0]);
  }

  /**
   * Adds files. Gives what came of each.
   * @param {{path: string, file: File}[]} files
   */
  add(files) {
    /** @type {Upload[]} */
    const added = [];
    let skipped = 0;
    let left = 0;
    for (const { path, file } of files) {
      const upload = new Upload(this, file, path);
      const identity = this.#identity(upload);
      if (this.#known.has(identity)) skipped += 1;
      else if (this.uploads.length >= MOST_FILES) left += 1;
      else {
        this.#known.add(identity);
        this.uploads.push(upload);
        added.push(upload);
        if (upload.size > page.maxSize) upload.refuse('too-large');
        else if (new TextEncoder().encode(path).length > page.maxName) upload.refuse('name-too-long');
      }
    }
    this.#pump();
    return { added, skipped, left };
  }

  /** Does several things before another upload is started. @param {() => void} act */
  #together(act) {
    const before = this.#pumping;
    this.#pumping = true;
    act();
    this.#pumping = before;
    this.#pump();
  }

  /** Begins. `fields`: the texts of the form, which go first. @param {Blob | null} fields */
  async start(fields) {
    const run = this.#run;
    this.sending = true;
    if (fields) {
      const upload = new Upload(this, fields, '', 'fields');
      this.uploads.unshift(upload);
      this.changed(upload, true);
    }
    this.#pumping = true;
    await this.#findAnchor();
    if (run !== this.#run) return;
    this.#pumping = false;
    this.#pump();
  }

  /** What goes on from an earlier visit belongs to the submission of then: the rest of this one joins it. */
  async #findAnchor() {
    if (!rememberedKeys().length) return;
    for (const upload of [...this.uploads]) {
      if (upload.size < REMEMBERED_FROM || upload.state !== 'waiting') continue;
      // A file that cannot be read says so when its turn comes.
      await upload.recall().catch(() => {});
      if (upload.url) return;
    }
  }

  /**
   * Something about an upload changed.
   * @param {Upload} upload
   * @param {boolean} [state] whether it is in another state
   */
  changed(upload, state = false) {
    const place = state ? this.uploads.indexOf(upload) : -1;
    if (upload.underWay) this.#running.add(upload);
    else this.#running.delete(upload);
    if (upload.state === 'waiting' && place >= 0) this.#next = Math.min(this.#next, place);
    if (upload.state === 'cancelled' && place >= 0) {
      this.uploads.splice(place, 1);
      this.#next = Math.min(this.#next, place);
      this.#known.delete(this.#identity(upload));
    }
    this.onchange(upload, state);
    if (state) this.#pump();
  }

  /** Starts as many as may run. */
  #pump() {
    if (!this.sending || this.#pumping) return;
    const running = [...this.#running];
    if (running.length >= SMALL_AT_ONCE) return;
    // Starting one is a change, too.
    this.#pumping = true;
    for (; this.#next < this.uploads.length; this.#next += 1) {
      const upload = this.uploads[this.#next];
      if (upload?.state !== 'waiting') continue;
      const small = [upload, ...running].every((one) => one.size <= SMALL);
      if (running.length >= (small ? SMALL_AT_ONCE : AT_ONCE)) break;
      running.push(upload);
      upload.start();
    }
    this.#pumping = false;
  }

  /**
   * Creates an upload as one of this hand-in: the first alone, the others when there is one that they can join.
   * @param {AbortSignal} turn
   * @param {(anchor: string) => Promise<void>} create
   */
  async join(turn, create) {
    while (!turn.aborted) {
      const anchor = this.uploads.find((other) => other.url && other.anchoring);
      if (!anchor && this.#founding) {
        await this.#founding.catch(() => {});
        continue;
      }
      const creation = create(anchor?.url ?? '');
      if (!anchor) this.#founding = creation;
      try {
        return await creation;
      } catch (error) {
        if (!(error instanceof UploadError) || error.follows !== 'join' || !anchor) throw error;
        anchor.anchoring = false;
      } finally {
        if (this.#founding === creation) this.#founding = null;
      }
    }
  }

  /**
   * Somebody has to do something before anything goes on: what waits is not tried one by one.
   * @param {string} code
   */
  hold(code) {
    this.#together(() => {
      for (const upload of this.uploads) if (upload.state === 'waiting') upload.refuse(code);
    });
  }

  pauseAll() {
    this.#together(() => {
      for (const upload of this.uploads) if (upload.pausable) upload.pause();
    });
  }

  /** Goes on with what is paused, and tries again what failed. */
  resumeAll() {
    this.#together(() => {
      for (const upload of this.uploads) if (upload.state === 'paused' || upload.hopeful) upload.wait();
    });
  }

  cancelAll() {
    this.#together(() => {
      for (const upload of [...this.uploads]) upload.cancel();
    });
  }

  nudge() {
    for (const upload of this.#running) upload.nudge();
  }

  /** @param {number} seconds */
  watch(seconds) {
    for (const upload of this.#running) upload.watch(seconds);
  }

  /** Forgets all of it, for the next hand-in. */
  clear() {
    this.#run += 1;
    this.uploads = [];
    this.#known.clear();
    this.#running.clear();
    this.#next = 0;
    this.#pumping = this.sending = false;
    this.speed.reset();
  }

  /** Where everything stands. */
  totals() {
    const totals = { count: 0, done: 0, size: 0, sent: 0, left: 0, failed: 0, paused: 0, underWay: 0, waiting: 0, lost: 0, pausable: 0, hopeful: 0 };
    for (const upload of this.uploads) {
      if (upload.refused) continue;
      totals.count += 1;
      totals.size += upload.size;
      totals.sent += upload.part * upload.size;
      if (upload.state === 'done') totals.done += 1;
      if (upload.state === 'failed') totals.failed += 1;
      if (upload.state === 'paused') totals.paused += 1;
      if (upload.state === 'waiting') totals.waiting += 1;
      if (upload.state === 'reconnecting') totals.lost += 1;
      if (upload.underWay) totals.underWay += 1;
      if (upload.pausable) totals.pausable += 1;
      if (upload.hopeful) totals.hopeful += 1;
      if (upload.underWay || upload.state === 'waiting') totals.left += upload.size - upload.sent;
    }
    return totals;
  }
}
