// The list of files and the totals, as they are seen and heard.

/** Rows are brought up to date this often, in milliseconds, and so many at a time: a large folder does not stop the page. */
const REFRESH = 200;
const MOST_ROWS = 200;
/** Progress is spoken no more often than this, in milliseconds, and in steps of this. */
const SPOKEN_EVERY = 10_000;
const SPOKEN_STEP = 0.1;

/**
 * An element of the page that has to be there.
 * @param {string} id
 * @returns {HTMLElement}
 */
function element(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no #${id}`);
  return found;
}

/**
 * A copy of what a template holds.
 * @param {string} id
 */
function copyOf(id) {
  const template = element(id);
  const content = template instanceof HTMLTemplateElement ? template.content.firstElementChild : null;
  if (!content) throw new Error(`#${id} is empty`);
  return /** @type {HTMLElement} */ (document.importNode(content, true));
}

/**
 * Writes a text where it is another one: what is read aloud would be read again.
 * @param {Element | null} place
 * @param {string} text
 */
function write(place, text) {
  if (place && place.textContent !== text) place.textContent = text;
}

/** @param {string} text */
function announce(text) {
  write(element('live'), text);
}

/** What an upload has to say for itself. @param {Upload} upload @param {boolean} chosen whether it was not begun yet */
function statusText(upload, chosen) {
  const percent = percentText(upload.part);
  switch (upload.state) {
    case 'waiting':
      return chosen ? '' : say('waiting');
    case 'preparing':
    case 'finishing':
      return say(upload.note || upload.state, { percent });
    case 'sending': {
      if (upload.note) return say(upload.note, { percent });
      const rate = upload.speed.rate();
      if (rate < 1) return say('percent-done', { percent });
      const time = durationText((upload.size - upload.sent) / rate);
      return say('sending-left', { percent, speed: speedText(rate), time });
    }
    case 'reconnecting':
      if (!navigator.onLine) return say('offline', { percent });
      return say(upload.problem === 'busy' ? 'server-busy' : 'reconnecting', { percent });
    case 'failed':
      return problemText(upload.problem);
    default:
      return say(upload.state, { percent });
  }
}

/** What can be done with an upload. @param {Upload} upload @param {boolean} chosen */
function actionsOf(upload, chosen) {
  if (chosen || upload.refused) return ['remove'];
  if (upload.state === 'paused') return ['resume', 'cancel'];
  if (upload.state === 'failed') return upload.hopeful ? ['retry', 'remove'] : ['remove'];
  if (upload.pausable) return ['pause', 'cancel'];
  return upload.state === 'finishing' ? ['cancel'] : [];
}

/** One upload in the list. */
class Row {
  /** @param {Upload} upload */
  constructor(upload) {
    this.upload = upload;
    this.item = copyOf('file-template');
    this.progress = this.item.querySelector('progress');
    this.status = this.item.querySelector('.file-status');
    /** @type {HTMLButtonElement[]} */
    this.buttons = Array.from(this.item.querySelectorAll('button[data-action]'));
    const { name } = upload;
    const end = name.lastIndexOf('/') + 1;
    write(this.item.querySelector('.folder'), name.slice(0, end));
    write(this.item.querySelector('.name'), name.slice(end));
    write(this.item.querySelector('.file-size'), sizeText(upload.size));
    this.progress?.setAttribute('aria-label', name);
    for (const button of this.buttons) {
      button.setAttribute('aria-label', say('file-action', { action: button.textContent ?? '', name }));
    }
  }

  /** @param {boolean} chosen */
  refresh(chosen) {
    const { upload, item, progress } = this;
    if (item.dataset.state !== upload.state) item.dataset.state = upload.state;
    write(this.status, statusText(upload, chosen));
    if (progress) {
      progress.hidden = chosen || upload.state === 'failed' || upload.state === 'done';
      progress.value = upload.part;
    }
    const actions = actionsOf(upload, chosen);
    const focused = this.buttons.find((button) => button === document.activeElement);
    for (const button of this.buttons) button.hidden = !actions.includes(button.dataset.action ?? '');
    // Where the button that was pressed gives way to another, that one is next.
    if (focused?.hidden) this.buttons.find((button) => !button.hidden)?.focus();
  }
}

class View {
  /** @type {Map<Upload, Row>} */
  #rows = new Map();
  /** @type {WeakMap<Element, Upload>} */
  #uploads = new WeakMap();
  /** Whose rows have to be brought up to date. @type {Set<Upload>} */
  #stale = new Set();
  #timer = 0;
  #spoken = { part: 0, time: 0, lost: false };
  #list = element('files-list');

  /** @param {Queue} queue @param {() => void} settle told after every refresh */
  constructor(queue, settle) {
    this.queue = queue;
    this.settle = settle;
    this.#list.addEventListener('click', (event) => this.#click(event));
  }

  /** @param {Upload} upload */
  changed(upload) {
    this.#stale.add(upload);
    this.#timer ||= setTimeout(() => this.#refresh(), REFRESH);
  }

  /** Shows at once what changed. */
  refresh() {
    clearTimeout(this.#timer);
    this.#refresh();
  }

  #refresh() {
    this.#timer = 0;
    const chosen = !this.queue.sending;
    const fresh = document.createDocumentFragment();
    let left = MOST_ROWS;
    for (const upload of this.#stale) {
      if (left-- === 0) break;
      this.#stale.delete(upload);
      if (upload.state === 'cancelled') this.#remove(upload);
      else this.#row(upload, fresh)?.refresh(chosen);
    }
    if (fresh.childElementCount) this.#list.append(fresh);
    if (this.#stale.size) this.#timer = setTimeout(() => this.#refresh(), REFRESH / 4);
    this.#refreshTotals();
    this.settle();
  }

  /** @param {Upload} upload @param {DocumentFragment} fresh where new rows go */
  #row(upload, fresh) {
    let row = this.#rows.get(upload);
    if (row || !this.queue.uploads.includes(upload)) return row;
    row = new Row(upload);
    this.#rows.set(upload, row);
    this.#uploads.set(row.item, upload);
    if (upload.kind === 'fields') this.#list.prepend(row.item);
    else fresh.append(row.item);
    return row;
  }

  /** @param {Upload} upload */
  #remove(upload) {
    const row = this.#rows.get(upload);
    if (!row) return;
    const { item } = row;
    this.#rows.delete(upload);
    if (item.contains(document.activeElement)) {
      const next = item.nextElementSibling ?? item.previousElementSibling;
      /** @type {HTMLElement | null} */
      const button = next?.querySelector('button:not([hidden])') ?? null;
      (button ?? element('choose-files')).focus();
    }
    item.remove();
  }

  /** @param {Event} event */
  #click(event) {
    const button = event.target instanceof Element ? event.target.closest('button[data-action]') : null;
    const item = button?.closest('li');
    const upload = item && this.#uploads.get(item);
    if (!upload || !(button instanceof HTMLElement)) return;
    const { action } = button.dataset;
    if (action === 'pause' && upload.pausable) upload.pause();
    if (action === 'resume' && upload.state === 'paused') upload.wait();
    if (action === 'retry' && upload.state === 'failed') upload.wait();
    if (action === 'cancel' || action === 'remove') {
      upload.cancel();
      if (action === 'cancel') announce(say('cancelled'));
    }
    if (action === 'pause') announce(say('announce-paused'));
    this.refresh();
  }

  #refreshTotals() {
    const { queue } = this;
    const totals = queue.totals();
    const part = totals.size ? totals.sent / totals.size : 0;
    element('queue').hidden = queue.uploads.length === 0;
    write(element('queue-summary'), totals.count ? say('chosen', { count: totals.count, size: sizeText(totals.size) }) : '');
    element('total').hidden = !queue.sending;
    element('pause-all').hidden = !queue.sending || totals.pausable < 2;
    element('resume-all').hidden = !queue.sending || totals.paused + totals.hopeful < 2;
    element('cancel-all').hidden = !queue.sending || totals.count - totals.done === 0;
    if (!queue.sending) return;
    const progress = element('total-progress');
    if (progress instanceof HTMLProgressElement) progress.value = totals.size ? part : totals.done / totals.count;
    const words = [say('total', { done: totals.done, count: totals.count, sent: sizeText(totals.sent), size: sizeText(totals.size) })];
    if (totals.underWay === totals.lost) queue.speed.reset();
    const rate = queue.speed.rate();
    if (rate >= 1) words.push(speedText(rate), say('total-left', { time: durationText(totals.left / rate) }));
    else if (totals.paused && !totals.underWay && !totals.waiting) words.push(say('total-paused'));
    write(element('total-status'), words.join(' · '));
    this.#speak(part, totals.lost > 0 && totals.lost === totals.underWay);
  }

  /** @param {number} part @param {boolean} lost */
  #speak(part, lost) {
    const spoken = this.#spoken;
    const now = performance.now();
    if (lost && !spoken.lost) announce(say('announce-reconnecting'));
    else if (part >= spoken.part + SPOKEN_STEP && now - spoken.time >= SPOKEN_EVERY && part < 1) {
      announce(say('announce-progress', { percent: percentText(part) }));
      spoken.part = part;
      spoken.time = now;
    }
    spoken.lost = lost;
  }

  /** Empties the list. */
  clear() {
    this.#rows.clear();
    this.#stale.clear();
    this.#list.replaceChildren();
    this.#spoken = { part: 0, time: 0, lost: false };
  }
}
