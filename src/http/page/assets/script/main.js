// Makes of the plain form a page that sends files one by one, and goes on where the network broke off.

const filesInput = /** @type {HTMLInputElement} */ ($('files'));
const folderInput = /** @type {HTMLInputElement} */ ($('folder'));
const form = /** @type {HTMLFormElement} */ ($('form'));
const chooseText = $('choose-files')?.textContent ?? '';
/** @type {WakeLockSentinel | null} */
let awake = null;
let isAwake = false;
let isAsking = false;
/** How many drops are still being read. */
let gatherings = 0;
let failures = 0;
const { title } = document;

function isReceived() {
  return !$('received').hidden;
}

/** @param {string} text nothing where nothing is wrong any more */
function complain(text) {
  write($('error'), text);
  $('error').hidden = !text;
}

/** @param {Gathered | Promise<Gathered>} gathering */
async function take(gathering) {
  if (isReceived()) return;
  gatherings += 1;
  const taken = await Promise.resolve(gathering)
    .then(async ({ files, unreadable }) => ({ files, unreadable, ...(await addFiles(files)) }))
    .finally(() => (gatherings -= 1));
  const { files, unreadable, added, skipped, left } = taken;
  notice = skipped ? say('skipped', { count: skipped }) : '';
  announce([added && say('added', { count: added }), skipped && say('skipped', { count: skipped })].filter(Boolean).join(' '));
  const count = mostFiles();
  const tooMany = () => (count < MOST_FILES ? say('too-many-for-link', { count }) : say('too-many', { count }));
  const wrong = [left && tooMany(), unreadable && say('unreadable', { count: unreadable })];
  const empty = !files.length && !unreadable && say('empty-folder');
  if (!isSending || empty || left || unreadable) complain([...wrong, empty].filter(Boolean).join(' '));
  refresh();
}

/** @param {HTMLInputElement} input */
function takeFrom(input) {
  const chosen = gathered(input.files ?? []);
  // So that the same can be chosen again, and is not sent by the form as well.
  input.value = '';
  if (chosen.files.length) void take(chosen);
}

/** @returns {(HTMLInputElement | HTMLTextAreaElement)[]} */
function textFields() {
  return Array.from(document.querySelectorAll('.field input, .field textarea'));
}

/** @param {Event} event */
function send(event) {
  event.preventDefault();
  if (isSending) return;
  // Lines end as a form that the browser sends ends them.
  const fields = textFields().map(({ name, value }) => ({ name, value: value.replace(/\r?\n/g, '\r\n') }));
  const written = fields.some(({ value }) => value.trim());
  const texts = written ? new Blob([JSON.stringify({ fields })], { type: 'application/json' }) : null;
  if (!texts && uploads.every(({ refused }) => refused)) {
    complain(page.hasFields ? say('nothing-chosen-or-written') : say('nothing-chosen'));
    return $('choose-files').focus();
  }
  // Spaces are no answer.
  for (const field of textFields()) if (field.required && !field.value.trim()) field.value = '';
  if (!textFields().every((field) => field.reportValidity())) return;
  if (texts && texts.size > page.maxFields) return complain(problemText('fields-too-large'));
  complain('');
  announce(say('announce-started'));
  void startSending(texts);
  refresh();
}

/** What follows from where everything stands. @param {ReturnType<typeof totals>} all */
function settle({ count, done, failed, open, paused }) {
  for (const field of textFields()) field.readOnly = isSending;
  const underWay = isSending && open + paused > 0;
  if (underWay !== isAsking) window[underWay ? 'addEventListener' : 'removeEventListener']('beforeunload', ask);
  isAsking = underWay;
  void stayAwake(isSending && open > 0);
  if (!isSending) return;
  setState(paused && !open ? 'paused' : 'sending');
  if (failed !== failures) complain(failed ? say('failures', { count: failed }) : '');
  failures = failed;
  if (gatherings) return;
  if (!count) {
    const names = uncertain;
    startOver();
    if (names.length) complain(say('uncertain', { count: names.length, names: names.slice(0, 10).join(', ') }));
  } else if (done === count) showReceipt();
}

/** @param {Event} event */
function ask(event) {
  event.preventDefault();
}

/** A phone that sleeps sends nothing. @param {boolean} on */
async function stayAwake(on) {
  if (on === isAwake || document.hidden || !navigator.wakeLock) return;
  isAwake = on;
  if (on) awake = await navigator.wakeLock.request('screen').catch(() => null);
  // The browser lets it go with the page's being seen.
  if (awake) awake.onrelease = () => (isAwake = false);
  if (!isAwake) void awake?.release();
}

/** What a receipt does not cover. @param {HTMLElement} article @param {string} key @param {string[]} names */
function addNotice(article, key, names) {
  if (!names.length) return;
  const shown = names.length > 10 ? [...names.slice(0, 10), '…'] : names;
  const notice = made('p', say(key, { count: names.length, names: shown.join(', ') }));
  notice.className = 'error';
  article.querySelector('.lead')?.after(notice);
}

/** Links that would lose the receipt, which is nowhere else. @param {boolean} hidden */
function hideLinks(hidden) {
  for (const link of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('.languages, .development'))) link.hidden = hidden;
}

function showReceipt() {
  const article = receiptOf(uploads.flatMap(({ receipt }) => receipt ?? []));
  enhanceReceipt(article);
  const refused = uploads.filter((upload) => upload.refused).map(({ name }) => name);
  addNotice(article, 'not-sent', refused);
  addNotice(article, 'uncertain', uncertain);
  /** @type {HTMLAnchorElement | null} */
  const more = article.querySelector('a.button');
  // What a link takes is less now: its page is loaded again.
  if (more && page.mostFiles === null && page.mostBytes === null) {
    more.onclick = (event) => {
      event.preventDefault();
      HTMLFormElement.prototype.reset.call(form);
      startOver();
    };
  }
  empty();
  setState('done');
  document.title = article.querySelector('h1')?.textContent ?? title;
  hideLinks(true);
  $('received').append(article);
  $('received').hidden = false;
  $('handing-in').hidden = true;
  announce(say('announce-done'));
  scrollTo(0, 0);
  article.focus();
}

/** Fields that are named like what a form has hide it: nothing is read from the form itself. @param {string} state */
function setState(state) {
  Element.prototype.setAttribute.call(form, 'data-state', state);
}

/** Back to choosing. What was written stays. */
function startOver() {
  empty();
  $('choose-files').focus();
}

function empty() {
  document.title = title;
  clearQueue();
  clearView();
  complain('');
  failures = 0;
  setState('choosing');
  hideLinks(false);
  $('received').hidden = true;
  $('received').replaceChildren();
  $('handing-in').hidden = false;
  refresh();
}

function enhance() {
  document.documentElement.classList.add('enhanced');
  // What cannot be seen cannot be asked for: the required file.
  Element.prototype.setAttribute.call(form, 'novalidate', '');
  setState('choosing');
  $('total').tabIndex = -1;
  filesInput.hidden = true;
  /** @type {HTMLElement} */ (document.querySelector('.chooser-label')).hidden = true;
  $('choose').hidden = false;
  // In the reader's own time, and not to the second.
  const format = new Intl.DateTimeFormat(language, { dateStyle: 'long', timeStyle: 'short' });
  for (const time of document.querySelectorAll('#files-hint time')) write(time, format.format(new Date(time.getAttribute('datetime') ?? '')));
  $('choose-folder').hidden = !('webkitdirectory' in folderInput);
  document.addEventListener('submit', send);
  $('choose-files').onclick = () => filesInput.click();
  $('choose-folder').onclick = () => folderInput.click();
  for (const input of [filesInput, folderInput]) input.onchange = () => takeFrom(input);
  onPress('pause-all', () => inAll('announce-paused', ({ pausable }) => pausable, (upload) => upload.pause(), 'resume-all'));
  onPress('resume-all', () => inAll('announce-started', ({ resumable }) => resumable, (upload) => upload.wait(), 'pause-all'));
  onPress('cancel-all', () => {
    if (confirm(say('cancel-all-question'))) inAll('cancelled', ({ state }) => state !== 'done', (upload) => upload.cancel());
  });
  for (const link of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('.languages a'))) {
    const isLost = () => uploads.length || textFields().some(({ value }) => value);
    link.onclick = () => isAsking || !isLost() || confirm(say('leave-question'));
  }
  listenForFiles(take);
  const nudge = () => {
    for (const upload of uploads) if (upload.underWay) upload.nudge();
    uploads.forEach(showSoon);
  };
  window.ononline = window.onpageshow = nudge;
  window.onoffline = () => uploads.forEach(showSoon);
  document.onvisibilitychange = () => document.hidden || nudge();
  let before = performance.now();
  setInterval(() => {
    const now = performance.now();
    for (const upload of uploads) if (upload.underWay) upload.watch((now - before) / 1000);
    before = now;
  }, 1000);
  tidyMemory();
  takeFrom(filesInput);
}

/** @param {string} message @param {(upload: Upload) => boolean} which @param {(upload: Upload) => void} act @param {string} [next] what gets the focus */
function inAll(message, which, act, next = 'total') {
  toAll(which, act);
  announce(say(uploads.some(({ unwanted }) => unwanted) ? 'asking' : message));
  refresh();
  if (isSending) $($(next).hidden ? 'total' : next).focus();
}

/** The second press of two is meant for what was there before. @param {string} id @param {() => void} act */
function onPress(id, act) {
  $(id).onclick = ({ detail }) => detail > 1 || act();
}

// Where something of the browser's is missing, the plain form does.
const isEnough = [globalThis.crypto?.subtle, Blob.prototype.arrayBuffer, Intl.ListFormat, Object.hasOwn].every(Boolean);
if (form && isEnough) enhance();
if ($('receipt')) enhanceReceipt($('receipt'));
