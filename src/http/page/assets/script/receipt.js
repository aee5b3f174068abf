// The receipt: made from what the server said of each upload, or by the server itself; to be copied, printed or saved.

/** @param {string} time */
function localTime(time) {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return time;
  return new Intl.DateTimeFormat(language, { dateStyle: 'long', timeStyle: 'long' }).format(date);
}

/** @param {Element | null} place @param {string} time */
function writeTime(place, time) {
  place?.setAttribute('datetime', time);
  write(place, localTime(time));
}

/** @param {string} tag @param {string} text */
function made(tag, text) {
  const node = document.createElement(tag);
  node.textContent = text;
  return node;
}

/** @param {Receipt} receipt */
function receivedName({ kind, name }) {
  if (kind === 'fields') return page.receipt['text-fields'];
  return name ?? page.receipt.unnamed;
}

/** @param {number} size */
function exactSize(size) {
  const bytes = fill(page.receipt.bytes, { count: size });
  return size < 1000 ? bytes : `${sizeText(size)} (${bytes})`;
}

/**
 * One upload of a receipt.
 * @param {Receipt} receipt
 * @param {string} timeLabel where it has a time of its own
 */
function received(receipt, timeLabel) {
  const item = copyOf('received-template');
  write(item.querySelector('.name bdi'), receivedName(receipt));
  write(item.querySelector('.size'), exactSize(receipt.size));
  for (const [place, text] of [['.sha256', receipt.sha256], ['.id', receipt.id]]) {
    const code = item.querySelector(place ?? '');
    write(code, text ?? '');
    // What the server could not say any more is left out.
    const value = code?.closest('dd');
    if (!text) value?.previousElementSibling?.remove(), value?.remove();
  }
  if (timeLabel && receipt.time) {
    const time = document.createElement('time');
    writeTime(time, receipt.time);
    const value = document.createElement('dd');
    value.append(time);
    item.querySelector('dl')?.append(made('dt', timeLabel), value);
  }
  return item;
}

/** @param {string} fingerprint */
function recipientItem(fingerprint) {
  const item = document.createElement('li');
  const name = page.recipients.find((recipient) => recipient.fingerprint === fingerprint)?.name;
  if (name) item.append(made('bdi', name), ' ');
  item.append(made('code', fingerprint));
  return item;
}

/**
 * The receipt of a whole hand-in.
 * @param {Receipt[]} receipts
 */
function receiptOf(receipts) {
  const article = copyOf('receipt-template');
  const unique = (/** @type {(string | undefined)[]} */ values) => /** @type {string[]} */ ([...new Set(values)].filter(Boolean));
  // RFC 3339 in UTC sorts as text.
  const times = unique(receipts.map(({ time }) => time)).sort();
  const time = article.querySelector('.facts .time');
  const label = time?.closest('dd')?.previousElementSibling?.textContent ?? '';
  write(article.querySelector('.submission'), unique(receipts.map(({ submission }) => submission)).join(', '));
  if (times.length) writeTime(time, times.at(-1) ?? '');
  const fingerprints = unique(receipts.flatMap(({ recipients }) => recipients));
  article.querySelector('.recipients ul')?.replaceChildren(...fingerprints.map(recipientItem));
  const items = receipts.map((receipt) => received(receipt, times.length > 1 ? label : ''));
  article.querySelector('ol.received')?.replaceChildren(...items);
  return article;
}

/**
 * A receipt as plain text.
 * @param {HTMLElement} article
 */
function receiptText(article) {
  const lines = [];
  for (const node of article.querySelectorAll('h1, h2, .lead, .name, dt')) {
    const text = (node.textContent ?? '').trim();
    if (node.matches('h2, .name')) lines.push('');
    if (!node.matches('dt')) {
      lines.push(text);
      continue;
    }
    const value = node.nextElementSibling;
    const items = Array.from(value?.querySelectorAll('li') ?? [], (item) => `\n  ${item.textContent?.trim()}`);
    // Whatever clock it is read by, the moment is certain.
    const moment = value?.querySelector('time')?.dateTime;
    lines.push(`${text}: ${items.join('') || value?.textContent?.trim()}${moment ? ` (${moment})` : ''}`);
  }
  return `${lines.join('\n')}\n`;
}

/** @param {HTMLElement} article */
function saveReceipt(article) {
  const id = article.querySelector('.submission')?.textContent?.trim().split(',')[0] ?? '';
  const link = document.createElement('a');
  // Also editors that know no other end of a line are used.
  const text = receiptText(article).replaceAll('\n', '\r\n');
  link.href = URL.createObjectURL(new Blob([text], { type: 'text/plain;charset=utf-8' }));
  link.download = say('receipt-file', { id }) || `receipt-${id}.txt`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/**
 * Makes a receipt's buttons work.
 * @param {HTMLElement} article
 * @param {(() => void) | null} more begins the next hand-in without loading the page again
 */
function enhanceReceipt(article, more) {
  for (const time of article.querySelectorAll('time')) write(time, localTime(time.dateTime));
  for (const button of article.querySelectorAll('button[data-action]')) /** @type {HTMLElement} */ (button).hidden = false;
  const notice = article.querySelector('.notice');
  article.addEventListener('click', async (event) => {
    const target = event.target instanceof Element ? event.target.closest('button[data-action], a.button') : null;
    if (!(target instanceof HTMLElement)) return;
    const { action } = target.dataset;
    if (action === 'print') window.print();
    if (action === 'copy') {
      const copied = await navigator.clipboard?.writeText(receiptText(article)).then(() => true, () => false);
      write(notice, say(copied ? 'copied' : 'copy-failed'));
    }
    if (action === 'save') {
      saveReceipt(article);
      write(notice, say('saved'));
    }
    if (more && target.matches('a')) {
      event.preventDefault();
      more();
    }
  });
}
