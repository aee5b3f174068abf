// What is seen and heard of the hand-in.

/** In milliseconds; and so many rows at a time, so that a large folder does not stop the page. */
const REFRESH = 200;
const MOST_ROWS = 200;
/** Progress is spoken in steps no smaller than these, and not so soon after anything else that is spoken. */
const SPOKEN_EVERY = 10_000;
const SPOKEN_STEP = 0.1;

/** @type {Map<Upload, HTMLElement>} */
const rows = new Map();
/** Whose row says what is true no more. @type {Set<Upload>} */
const stale = new Set();
let refreshing = 0;
let spoken = { part: 0, time: 0, lost: false };

/** @param {string} id */
function $(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/** A copy of what a template holds. @param {string} id */
function copyOf(id) {
  const { content } = /** @type {HTMLTemplateElement} */ ($(id));
  return /** @type {HTMLElement} */ (document.importNode(content, true).firstElementChild);
}

/** Writes only what is another text: what is read aloud would be read again. @param {Element | null} place @param {string} text */
function write(place, text) {
  if (place && place.textContent !== text) place.textContent = text;
}

/** @param {string} text */
function announce(text) {
  // Progress is put off: where both came at once, it alone would be heard.
  spoken.time = performance.now();
  // The same again is heard only where it is another text.
  write($('live'), $('live').textContent === text ? `${text}\u00a0` : text);
}

/** @param {Upload} upload */
function statusOf({ state, part, checked, unwanted, note, notedPart, problem, speed, size, sent }) {
  if (unwanted) return say('asking');
  if (state === 'finishing' && checked >= 0) return say('checking', { percent: percentText(checked) });
  // What is on its way may not arrive.
  const percent = percentText(state === 'done' ? 1 : Math.min(part, 0.99));
  if (state === 'failed') return problemText(problem);
  if (state === 'waiting' && !isSending) return '';
  if (state === 'reconnecting' && !navigator.onLine) return say('offline', { percent });
  if (state === 'reconnecting' && problem === 'busy') return say('server-busy');
  if (state === 'reconnecting' && problem === 'too-many-uploads') return say('too-many-uploads');
  if (state === 'reconnecting' && problem === 'too-many-requests') return say('too-many-requests');
  if (state !== 'sending') return say(state, { percent });
  const rate = speed.rate();
  if (rate < 1) return note ? say(note, { percent: percentText(notedPart) }) : say('percent-done', { percent });
  return say('sending-left', { percent, speed: say('speed', { size: sizeText(rate) }), time: durationText((size - sent) / rate) });
}

/** @param {Upload} upload */
function actionsOf({ state, refused, unwanted, hopeful, pausable }) {
  if (!isSending || refused || unwanted) return ['remove'];
  if (state === 'paused') return ['resume', 'cancel'];
  if (state === 'failed') return hopeful ? ['retry', 'remove'] : ['remove'];
  if (pausable) return ['pause', 'cancel'];
  return state === 'finishing' ? ['cancel'] : [];
}

/** @param {Upload} upload */
function newRow(upload) {
  const row = copyOf('file-template');
  const { name, size } = upload;
  row.tabIndex = -1;
  const end = name.lastIndexOf('/') + 1;
  write(row.querySelector('.folder'), name.slice(0, end));
  write(row.querySelector('.name'), name.slice(end));
  write(row.querySelector('.file-size'), sizeText(size));
  row.querySelector('progress')?.setAttribute('aria-label', name);
  for (const button of row.querySelectorAll('button')) {
    button.setAttribute('aria-label', say('file-action', { action: button.textContent ?? '', name }));
    button.onclick = () => act(upload, button.dataset.action ?? '');
  }
  rows.set(upload, row);
  return row;
}

/** @param {Upload} upload @param {string} action */
function act(upload, action) {
  if (action === 'pause' && upload.pausable) upload.pause();
  if (action === 'resume' || action === 'retry') upload.wait();
  if (action === 'cancel' || action === 'remove') upload.cancel();
  if (action === 'cancel') announce(say(upload.unwanted ? 'asking' : 'cancelled'));
  if (action === 'pause') announce(say('announce-paused'));
  refresh();
  // What was pressed has another in its place.
  const next = { pause: 'resume', resume: 'pause', retry: 'pause' }[action];
  /** @type {HTMLElement | null | undefined} */ (rows.get(upload)?.querySelector(`[data-action="${next}"]:not([hidden])`))?.focus();
}

/** @param {Upload} upload @param {HTMLElement} row */
function refreshRow(upload, row) {
  row.dataset.state = upload.state;
  write(row.querySelector('.file-status'), statusOf(upload));
  const progress = row.querySelector('progress');
  if (progress) {
    progress.hidden = !isSending || upload.state === 'done' || upload.state === 'failed';
    progress.value = upload.part;
  }
  const actions = actionsOf(upload);
  for (const button of row.querySelectorAll('button')) button.hidden = !actions.includes(button.dataset.action ?? '');
}

/** @param {Upload} upload */
function showSoon(upload) {
  stale.add(upload);
  refreshing ||= setTimeout(refresh, REFRESH);
}

/** Brings the page up to date, and what has to follow from it about. */
function refresh() {
  clearTimeout(refreshing);
  const focused = document.activeElement;
  const place = focused?.closest('li, .actions');
  const beside = place?.nextElementSibling ?? place?.previousElementSibling;
  const added = document.createDocumentFragment();
  for (const upload of [...stale].slice(0, MOST_ROWS)) {
    stale.delete(upload);
    const row = rows.get(upload) ?? newRow(upload);
    refreshRow(upload, row);
    if (upload.state === 'cancelled' && rows.delete(upload)) row.remove();
    else if (!row.isConnected && upload.path) added.append(row);
    else if (!row.isConnected) $('files-list').prepend(row);
  }
  // At once: a browser looks at the whole page for each change to it.
  $('files-list').append(added);
  refreshing = stale.size ? setTimeout(refresh, REFRESH / 4) : 0;
  const all = totals();
  showTotals(all);
  settle(all);
  // What had the focus and is gone leaves it to what stood around it: to no button, where the next key would do something else.
  if (!(focused instanceof HTMLButtonElement) || (focused.isConnected && !focused.hidden)) return;
  if (document.activeElement !== focused && document.activeElement !== document.body) return;
  const near = [place, beside].find((one) => one instanceof HTMLLIElement && one.isConnected);
  (near instanceof HTMLElement ? near : $(isSending ? 'total' : 'choose-files')).focus();
}

/** @param {ReturnType<typeof totals>} all */
function showTotals(all) {
  const { count, done, files, size, left } = all;
  const sent = all.sent / (size || 1);
  $('queue').hidden = !uploads.length;
  $('handing-in').classList.toggle('filled', uploads.length > 0);
  write($('choose-files'), uploads.length ? say('add-more') : chooseText);
  write($('queue-summary'), [files && say('chosen', { count: files, size: sizeText(size) }), notice].filter(Boolean).join(' · '));
  $('send').hidden = isSending;
  $('total').hidden = !isSending;
  $('pause-all').hidden = !isSending || all.pausable < 2;
  $('resume-all').hidden = !isSending || all.resumable < 2;
  $('cancel-all').hidden = !isSending || done === count;
  if (!isSending) return;
  /** @type {HTMLProgressElement} */ ($('total-progress')).value = sent;
  const words = [files ? say('total', { done: all.filesDone, count: files, sent: sizeText(all.sent), size: sizeText(size) }) : ''];
  const lost = all.running > 0 && all.running === all.lost;
  if (!all.sending || lost) totalSpeed.reset();
  const rate = totalSpeed.rate();
  if (left && rate >= 1) words.push(say('speed', { size: sizeText(rate) }), say('total-left', { time: durationText(left / rate) }));
  else if (all.paused && !all.open) words.push(say('total-paused'));
  write($('total-status'), words.filter(Boolean).join(' · '));
  speak(done === count ? 1 : Math.min(sent, 0.99), lost);
}

/** @param {number} part @param {boolean} lost */
function speak(part, lost) {
  const time = performance.now();
  if (lost && !spoken.lost) announce(say('announce-reconnecting'));
  spoken.lost = lost;
  // Less, where something was added or is sent again.
  spoken.part = Math.min(spoken.part, part);
  if (lost || part < spoken.part + SPOKEN_STEP || time < spoken.time + SPOKEN_EVERY) return;
  announce(say('announce-progress', { percent: percentText(part) }));
  spoken = { part, time, lost };
}

function clearView() {
  rows.clear();
  stale.clear();
  $('files-list').replaceChildren();
  spoken = { part: 0, time: 0, lost: false };
}
