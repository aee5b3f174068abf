// The receipt: made of what the server said of each upload, or by the server; to be copied, printed or saved.

const timeFormat = new Intl.DateTimeFormat(language, { dateStyle: 'long', timeStyle: 'long' });

/** In the reader's own time. @param {Element | null} place @param {string} time */
function writeTime(place, time) {
  place?.setAttribute('datetime', time);
  write(place, timeFormat.format(new Date(time)));
}

/** @param {string} tag @param {(string | Node)[]} content */
function made(tag, ...content) {
  const node = document.createElement(tag);
  node.append(...content);
  return node;
}

/** One upload of a receipt. @param {Receipt} receipt @param {string} timeLabel where it has a time of its own */
function receivedItem({ kind, name, size, sha256 = '', id = '', time = '' }, timeLabel) {
  const item = copyOf('received-template');
  write(item.querySelector('.name bdi'), kind === 'fields' ? page.receipt['text-fields'] : name || page.receipt.unnamed);
  const bytes = fill(size === 1 ? page.receipt.byte : page.receipt.bytes, { count: size });
  write(item.querySelector('.size'), size < 1000 ? bytes : `${sizeText(size)} (${bytes})`);
  for (const [place = '', text = ''] of [['.sha256', sha256], ['.id', id]]) {
    const value = item.querySelector(place);
    write(value, text);
    // The server does not say what has expired.
    if (!text) for (const part of [value?.closest('dd')?.previousElementSibling, value?.closest('dd')]) part?.remove();
  }
  if (timeLabel && time) {
    const own = made('time');
    writeTime(own, time);
    item.querySelector('dl')?.append(made('dt', timeLabel), made('dd', own));
  }
  return item;
}

/** The receipt of a whole hand-in. @param {Receipt[]} receipts */
function receiptOf(receipts) {
  const article = copyOf('receipt-template');
  const each = (/** @type {(receipt: Receipt) => string | string[]} */ of) => [...new Set(receipts.flatMap(of))];
  // RFC 3339 in UTC sorts as text.
  const times = each(({ time }) => time || []).sort();
  const time = article.querySelector('.time');
  const label = time?.closest('dd')?.previousElementSibling?.textContent ?? '';
  if (times.length) writeTime(time, times[times.length - 1] ?? '');
  write(article.querySelector('.submission'), each(({ submission }) => submission || []).join(', '));
  const keys = each(({ recipients }) => recipients ?? []).map((fingerprint) => {
    const name = page.recipients.find((recipient) => recipient.fingerprint === fingerprint)?.name;
    return made('li', ...(name ? [made('bdi', name), ' '] : []), made('code', fingerprint));
  });
  article.querySelector('.recipients ul')?.replaceChildren(...keys);
  const items = receipts.map((receipt) => receivedItem(receipt, times.length > 1 ? label : ''));
  article.querySelector('.received')?.replaceChildren(...items);
  return article;
}

/** @param {HTMLElement} article */
function receiptText(article) {
  const lines = Array.from(article.querySelectorAll('h1, h2, .lead, .name, dt'), (node) => {
    const text = node.textContent?.trim();
    if (!node.matches('dt')) return node.matches('h2, .name') ? `\n${text}` : text;
    const value = node.nextElementSibling;
    const items = Array.from(value?.querySelectorAll('li') ?? [], (item) => `\n  ${item.textContent?.trim()}`).join('');
    // The moment itself, whatever clock it is read by.
    const moment = value?.querySelector('time')?.dateTime;
    return `${text}: ${items || value?.textContent?.trim()}${moment ? ` (${moment})` : ''}`;
  });
  return `${lines.join('\n')}\n`;
}

/** @param {HTMLElement} article */
function saveReceipt(article) {
  const id = article.querySelector('.submission')?.textContent?.trim().split(',')[0] ?? '';
  // There are editors that know no other end of a line.
  const blob = new Blob([receiptText(article).replaceAll('\n', '\r\n')], { type: 'text/plain' });
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = say('receipt-file', { id }) || 'receipt.txt';
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Makes a receipt's buttons work. @param {HTMLElement} article */
function enhanceReceipt(article) {
  for (const time of article.querySelectorAll('time')) if (time.dateTime) writeTime(time, time.dateTime);
  const notice = article.querySelector('.notice');
  for (const button of article.querySelectorAll('button')) {
    const { action } = button.dataset;
    button.hidden = false;
    button.onclick = async () => {
      if (action === 'print') return print();
      if (action === 'save') saveReceipt(article);
      const copying = action === 'copy' && navigator.clipboard?.writeText(receiptText(article));
      const said = action === 'save' ? 'saved' : await Promise.resolve(copying ?? Promise.reject()).then(() => 'copied', () => 'copy-failed');
      write(notice, say(said));
    };
  }
}
