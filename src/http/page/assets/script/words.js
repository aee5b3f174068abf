// The words of the page, in its language, and numbers as they are written in it.

/**
 * @typedef {{[category: string]: string}} Plurals
 * @typedef {object} PageData
 * @property {string} endpoint
 * @property {number} maxSize
 * @property {number} maxName
 * @property {number} maxFields
 * @property {{name: string | null, fingerprint: string}[]} recipients
 * @property {{[key: string]: string | Plurals}} messages
 * @property {{unnamed: string, 'text-fields': string, bytes: string}} receipt
 * @property {{[code: string]: string}} problems
 * @typedef {{[name: string]: string | number}} Values
 */

/** What the server says to this script. A receipt that it made itself may come without. */
const page = /** @type {PageData} */ (JSON.parse(document.getElementById('page-data')?.textContent || '{}'));
const language = document.documentElement.lang || 'en';
const plurals = new Intl.PluralRules(language);
const wholeNumber = new Intl.NumberFormat(language);
const UNITS = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte', 'petabyte'];

/**
 * Fills words in braces.
 * @param {string} text
 * @param {Values} values
 */
function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (braced, name) => {
    const value = values[name] ?? braced;
    return typeof value === 'number' ? wholeNumber.format(value) : value;
  });
}

/**
 * A message of the page. Where it has several forms, `count` chooses.
 * @param {string} key
 * @param {Values} [values]
 */
function say(key, values = {}) {
  const message = page.messages?.[key] ?? '';
  if (typeof message === 'string') return fill(message, values);
  return fill(message[plurals.select(Number(values.count))] ?? message.other ?? '', values);
}

/**
 * @param {number} value
 * @param {string} unit
 * @param {Intl.NumberFormatOptions} [options]
 */
function withUnit(value, unit, options) {
  return new Intl.NumberFormat(language, { style: 'unit', unit, ...options }).format(value);
}

/**
 * A size: decimal, as shops and file managers have them.
 * @param {number} bytes
 */
function sizeText(bytes) {
  let unit = 0;
  let value = bytes;
  // What would be written as 1000 of one unit is 1 of the next.
  for (; value >= (unit ? 999.5 : 1000) && unit < UNITS.length - 1; unit += 1) value /= 1000;
  const maximumFractionDigits = unit && value < 99.95 ? 1 : 0;
  return withUnit(value, UNITS[unit] ?? 'byte', { maximumFractionDigits, unitDisplay: unit ? 'short' : 'long' });
}

/**
 * Never rounded up: 100% is said when it is true.
 * @param {number} part
 */
function percentText(part) {
  return new Intl.NumberFormat(language, { style: 'percent' }).format(Math.floor(Math.min(part, 1) * 100) / 100);
}

/** @param {number} bytesPerSecond */
function speedText(bytesPerSecond) {
  return say('speed', { size: sizeText(Math.round(bytesPerSecond)) });
}

/**
 * A time that is left, as roughly as it is known.
 * @param {number} seconds
 */
function durationText(seconds) {
  const long = /** @type {const} */ ({ unitDisplay: 'long', maximumFractionDigits: 0 });
  if (seconds < 55) return withUnit(seconds < 10 ? Math.max(1, Math.ceil(seconds)) : Math.ceil(seconds / 5) * 5, 'second', long);
  const minutes = Math.ceil(seconds / 60);
  if (minutes < 60) return withUnit(minutes, 'minute', long);
  const hours = withUnit(Math.floor(minutes / 60), 'hour', long);
  if (minutes >= 600 || minutes % 60 === 0) return hours;
  const both = [hours, withUnit(minutes % 60, 'minute', long)];
  return new Intl.ListFormat(language, { type: 'unit', style: 'narrow' }).format(both);
}

/**
 * What went wrong, for whoever sends.
 * @param {string} code
 */
function problemText(code) {
  if (code === 'file-changed') return say(code);
  if (code === 'too-large') return say(code, { limit: sizeText(page.maxSize) });
  return page.problems?.[code] ?? say('failed', { code });
}

/** How fast something goes, smoothed over some seconds. */
class Speed {
  #rate = 0;
  #bytes = 0;
  #since = 0;
  #began = 0;

  /** @param {number} bytes */
  add(bytes) {
    if (!this.#since) this.#since = this.#began = performance.now();
    this.#bytes += bytes;
  }

  /** Begins anew, after a pause or where the connection was lost. */
  reset() {
    this.#rate = this.#bytes = this.#since = this.#began = 0;
  }

  /** In bytes a second; 0 until it means something. */
  rate() {
    const now = performance.now();
    const seconds = (now - this.#since) / 1000;
    if (!this.#since) return 0;
    if (seconds >= 0.5) {
      // By time, not by samples: however often it is asked, five seconds count most.
      const old = this.#rate ? Math.exp(-seconds / 5) : 0;
      this.#rate = this.#rate * old + (this.#bytes / seconds) * (1 - old);
      this.#bytes = 0;
      this.#since = now;
    }
    return now - this.#began < 3000 ? 0 : this.#rate;
  }
}
