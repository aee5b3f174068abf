// The words of the page, and numbers as its language writes them.

/** What the server says to this script. A receipt that it made itself may come without. */
const page = /** @type {PageData} */ (JSON.parse($('page-data')?.textContent || '{}'));
const language = document.documentElement.lang || 'en';
const plurals = new Intl.PluralRules(language);
/** Made once each: that takes longer than their use. @type {Map<string, Intl.NumberFormat>} */
const numberFormats = new Map();
const UNITS = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte', 'petabyte'];

/** Fills in what stands in braces. @param {string} text @param {Values} values */
function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (braced, name) => {
    const value = values[name] ?? braced;
    return typeof value === 'number' ? numberText(value) : value;
  });
}

/** A message; where it has several forms, `count` chooses. @param {string} key @param {Values} [values] */
function say(key, values = {}) {
  const message = page.messages?.[key] ?? '';
  if (typeof message === 'string') return fill(message, values);
  return fill(message[plurals.select(Number(values.count))] ?? message.other ?? '', values);
}

/** @param {number} value @param {Intl.NumberFormatOptions} [options] */
function numberText(value, options) {
  const key = JSON.stringify(options ?? {});
  const format = numberFormats.get(key) ?? new Intl.NumberFormat(language, options);
  numberFormats.set(key, format);
  return format.format(value);
}

/** @param {number} value @param {string} unit @param {'short' | 'long'} unitDisplay */
function withUnit(value, unit, unitDisplay, maximumFractionDigits = 0) {
  return numberText(value, { style: 'unit', unit, unitDisplay, maximumFractionDigits });
}

/** @param {number} bytes */
function sizeText(bytes) {
  let power = 0;
  // What would be written as 1000 of one unit is 1 of the next.
  for (; bytes >= (power ? 999.5 : 1000); power += 1) bytes /= 1000;
  return withUnit(bytes, UNITS[power] ?? '', power ? 'short' : 'long', power && bytes < 99.95 ? 1 : 0);
}

/** Never rounded up: 100% is said when it is true. @param {number} part */
function percentText(part) {
  return numberText(Math.floor(part * 100) / 100, { style: 'percent' });
}

/** A time that is left, as roughly as it is known. @param {number} seconds */
function durationText(seconds) {
  if (seconds < 55) return withUnit(Math.ceil(seconds / 5) * 5 || 5, 'second', 'long');
  const minutes = Math.ceil(seconds / 60);
  if (minutes < 60) return withUnit(minutes, 'minute', 'long');
  const both = [withUnit(Math.floor(minutes / 60), 'hour', 'long'), withUnit(minutes % 60, 'minute', 'long')];
  return new Intl.ListFormat(language, { type: 'unit', style: 'narrow' }).format(both);
}

/** What went wrong, for whoever sends. @param {string} code */
function problemText(code) {
  if (code === 'file-changed' || code === 'type-not-accepted') return say(code);
  if (code === 'no-room') return say(code, { limit: sizeText(page.mostBytes ?? 0) });
  if (code === 'too-large') return say(code, { limit: sizeText(page.maxSize) });
  return Object.hasOwn(page.problems, code) ? (page.problems[code] ?? '') : say('failed', { code });
}

/** How fast something goes, smoothed over some seconds. */
class Speed {
  #rate = 0;
  #bytes = 0;
  #since = 0;
  #began = 0;

  reset() {
    this.#rate = this.#bytes = this.#since = this.#began = 0;
  }

  /** @param {number} bytes */
  add(bytes) {
    this.#began ||= this.#since ||= performance.now();
    this.#bytes += bytes;
  }

  /** In bytes a second; 0 until it means something. */
  rate() {
    const now = performance.now();
    const seconds = (now - this.#since) / 1000;
    if (this.#began && seconds >= 0.5) {
      // By time, not by the number of samples: the last five seconds count most.
      const old = this.#rate && Math.exp(-seconds / 5);
      this.#rate = this.#rate * old + (this.#bytes / seconds) * (1 - old);
      this.#bytes = 0;
      this.#since = now;
    }
    return now - this.#began < 3000 ? 0 : this.#rate;
  }
}
