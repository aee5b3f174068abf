// Makes of the plain form a page that sends files one by one, and goes on where the network broke off.

class Page {
  form = /** @type {HTMLFormElement} */ (element('form'));
  files = /** @type {HTMLInputElement} */ (element('files'));
  folder = /** @type {HTMLInputElement} */ (element('folder'));
  received = element('received');
  error = element('error');
  queue = new Queue();
  view = new View(this.queue, () => this.#settle());
  /** @type {WakeLockSentinel | null} */
  #awake = null;
  #warning = false;
  #watched = performance.now();
  /** What the button says while nothing was chosen. */
  #choose = element('choose-files').textContent ?? '';

  constructor() {
    this.queue.onchange = (upload) => this.view.changed(upload);
    this.form.addEventListener('submit', (event) => this.#submit(event));
    for (const input of [this.files, this.folder]) {
      input.addEventListener('change', () => this.#takeChosen(input));
    }
    element('choose-files').addEventListener('click', () => this.files.click());
    element('choose-folder').addEventListener('click', () => this.folder.click());
    element('pause-all').addEventListener('click', () => this.#all(() => this.queue.pauseAll(), 'announce-paused'));
    element('resume-all').addEventListener('click', () => this.#all(() => this.queue.resumeAll(), 'announce-started'));
    element('cancel-all').addEventListener('click', () => {
      if (confirm(say('cancel-all-question'))) this.#all(() => this.queue.cancelAll(), 'cancelled');
    });
    listenForFiles(document.getElementById('drop-here'), () => this.received.hidden, (gathered) => void this.#take(gathered));
    window.addEventListener('online', () => this.queue.nudge());
    window.addEventListener('offline', () => this.#refreshAll());
    window.addEventListener('pageshow', () => this.queue.nudge());
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) return;
      this.queue.nudge();
      void this.#stayAwake(this.#underWay);
    });
    setInterval(() => this.#watch(), 1000);
    this.#enhance();
  }

  /** Shows what only works with this script. */
  #enhance() {
    document.documentElement.classList.add('enhanced');
    // A required field that cannot be seen could not be asked for.
    this.form.noValidate = true;
    this.files.hidden = true;
    const label = this.form.querySelector('.chooser-label');
    if (label instanceof HTMLElement) label.hidden = true;
    element('choose').hidden = false;
    // Not every phone has folders to choose.
    element('choose-folder').hidden = !('webkitdirectory' in this.folder);
    this.form.dataset.state = 'choosing';
    rememberedKeys();
    this.#takeChosen(this.files);
  }

  get #underWay() {
    return this.queue.uploads.some((upload) => this.queue.sending && (upload.underWay || ['waiting', 'paused'].includes(upload.state)));
  }

  /** @param {HTMLInputElement} input */
  #takeChosen(input) {
    const files = chosenIn(input);
    // So that the same can be chosen again, and nothing is chosen twice by going back.
    input.value = '';
    if (files.length) void this.#take({ files });
  }

  /** @param {Gathered | Promise<Gathered>} gathered */
  async #take(gathered) {
    const { files, unreadable = 0, more = false } = await gathered;
    if (!this.received.hidden) return;
    const { added, skipped, left } = this.queue.add(files);
    for (const upload of added) this.view.changed(upload);
    const told = [];
    const count = added.length;
    if (count) told.push(say('added', { count }));
    if (skipped) told.push(say('skipped', { count: skipped }));
    const wrong = [];
    if (left || more) wrong.push(say('too-many', { count: MOST_FILES }));
    if (unreadable) wrong.push(say('unreadable', { count: unreadable }));
    if (!files.length && !wrong.length) wrong.push(say('empty-folder'));
    announce(told.join(' '));
    this.#complain(wrong.join(' '));
    this.view.refresh();
  }

  /** Says what is wrong, or that nothing is any more. @param {string} text */
  #complain(text) {
    write(this.error, text);
    this.error.hidden = !text;
  }

  /** @param {() => void} act @param {string} key */
  #all(act, key) {
    act();
    announce(say(key));
    this.#refreshAll();
  }

  #refreshAll() {
    for (const upload of this.queue.uploads) this.view.changed(upload);
    this.view.refresh();
    this.#keepFocus();
  }

  /** Where a button that was pressed is not there any more, its neighbour is next. */
  #keepFocus() {
    const focused = document.activeElement;
    if (!(focused instanceof HTMLElement) || !focused.matches('.actions button') || !focused.hidden) return;
    /** @type {HTMLElement | null} */
    const next = this.form.querySelector('.actions button:not([hidden])');
    (next ?? element('choose-files')).focus();
  }

  /** The text fields of the form. */
  get #fields() {
    /** @type {(HTMLInputElement | HTMLTextAreaElement)[]} */
    const fields = Array.from(this.form.querySelectorAll('.field input, .field textarea'));
    return fields;
  }

  /** What was written, as one upload; nothing where nothing was. */
  #written() {
    const fields = this.#fields.map(({ name, value }) => ({ name, value }));
    if (!fields.some(({ value }) => value.trim())) return null;
    return new Blob([JSON.stringify({ fields })], { type: 'application/json' });
  }

  /** @param {Event} event */
  #submit(event) {
    event.preventDefault();
    if (this.queue.sending) return;
    const written = this.#written();
    if (!written && !this.queue.uploads.some((upload) => upload.state === 'waiting')) {
      this.#complain(say('nothing-chosen'));
      element('choose-files').focus();
      return;
    }
    if (written && written.size > page.maxFields) {
      this.#complain(problemText('fields-too-large'));
      return;
    }
    this.#complain('');
    void this.queue.start(written);
    announce(say('announce-started'));
    this.#refreshAll();
  }

  /** After every change: what state the whole hand-in is in, and what follows from it. */
  #settle() {
    const { queue } = this;
    const totals = queue.totals();
    const underWay = this.#underWay;
    element('send').hidden = queue.sending;
    write(element('choose-files'), queue.uploads.length ? say('add-more') : this.#choose);
    for (const field of this.#fields) field.readOnly = queue.sending;
    this.#warn(underWay);
    void this.#stayAwake(underWay && totals.paused < totals.count - totals.done);
    if (!queue.sending) return;
    this.form.dataset.state = totals.underWay || totals.waiting || !totals.paused ? 'sending' : 'paused';
    if (totals.failed) this.#complain(say('failures', { count: totals.failed }));
    else if (totals.failed !== this.#failures) this.#complain('');
    this.#failures = totals.failed;
    if (totals.count === 0) this.#startOver(false);
    else if (totals.done === totals.count) this.#showReceipt();
    else this.#keepFocus();
  }

  #failures = 0;

  #showReceipt() {
    const receipts = this.queue.uploads.map((upload) => upload.receipt).filter((receipt) => receipt !== null);
    const article = receiptOf(receipts);
    enhanceReceipt(article, () => this.#startOver(true));
    this.form.dataset.state = 'done';
    this.received.replaceChildren(article);
    this.received.hidden = false;
    element('handing-in').hidden = true;
    this.queue.clear();
    this.view.clear();
    announce(say('announce-done'));
    window.scrollTo(0, 0);
    article.focus();
  }

  /** Back to choosing. @param {boolean} anew whether what was written was received, too */
  #startOver(anew) {
    this.queue.clear();
    this.view.clear();
    this.#failures = 0;
    if (anew) this.form.reset();
    this.#complain('');
    this.form.dataset.state = 'choosing';
    this.received.hidden = true;
    this.received.replaceChildren();
    element('handing-in').hidden = false;
    this.view.refresh();
    element('choose-files').focus();
  }

  /** Before the page is left, as long as something is under way. @param {boolean} on */
  #warn(on) {
    if (on === this.#warning) return;
    this.#warning = on;
    if (on) window.addEventListener('beforeunload', Page.#ask);
    else window.removeEventListener('beforeunload', Page.#ask);
  }

  /** @param {BeforeUnloadEvent} event */
  static #ask(event) {
    event.preventDefault();
    // Older browsers ask only then.
    event.returnValue = true;
  }

  /** Keeps the screen on: a phone that sleeps sends nothing. @param {boolean} on */
  async #stayAwake(on) {
    const held = this.#awake && !this.#awake.released;
    if (on === Boolean(held) || !navigator.wakeLock || document.hidden) return;
    const lock = this.#awake;
    this.#awake = null;
    if (!on) return void lock?.release().catch(() => {});
    const asked = navigator.wakeLock.request('screen').catch(() => null);
    this.#awake = await asked;
  }

  #watch() {
    const now = performance.now();
    this.queue.watch((now - this.#watched) / 1000);
    this.#watched = now;
  }
}

/** Whether the browser has all that is needed. Where not, the plain form does. */
function isEnough() {
  return [globalThis.crypto?.subtle, Blob.prototype.arrayBuffer, Intl.ListFormat, Array.prototype.at].every(Boolean);
}

if (document.getElementById('form') && page.endpoint) {
  if (isEnough()) new Page();
} else {
  const article = document.getElementById('receipt');
  if (article) enhanceReceipt(article, null);
}
