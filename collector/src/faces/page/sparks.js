// The last values of every row, for small graphs.

/** Values of a graph. */
export const SPARK_LENGTH = 60;

/** What there are graphs of. */
const KINDS = { cpu: 0, network: 1, block: 2 };
/** Numbers of a row. */
const SIZE = 3 * SPARK_LENGTH;

/** @typedef {keyof typeof KINDS} Kind */

/**
 * All rows are in one array, each a ring, so that a tick writes three numbers per row and moves
 * none: with 10,000 rows that takes 1 ms, where an array for each graph took 8 ms.
 */
export class Sparks {
  /** Where each row is. @type {Map<string, number>} */
  places = new Map();
  /** @type {number[]} */
  free = [];
  numbers = new Float32Array(64 * SIZE);
  /** The latest value of each ring. */
  at = 0;

  /** Begins a tick. */
  begin() {
    this.at = (this.at + 1) % SPARK_LENGTH;
  }

  /** Adds the values of a row in this tick. Unknown is `undefined`.
   * @param {string} key @param {any} cpu @param {any} network @param {any} block */
  push(key, cpu, network, block) {
    let place = this.places.get(key);
    if (place === undefined) this.places.set(key, (place = this.claim()));
    const index = place * SIZE + this.at;
    this.numbers[index] = cpu ?? NaN;
    this.numbers[index + SPARK_LENGTH] = network ?? NaN;
    this.numbers[index + 2 * SPARK_LENGTH] = block ?? NaN;
  }

  claim() {
    const place = this.free.pop() ?? this.places.size;
    if ((place + 1) * SIZE > this.numbers.length) {
      const larger = new Float32Array(2 * this.numbers.length);
      larger.set(this.numbers);
      this.numbers = larger;
    }
    this.numbers.fill(NaN, place * SIZE, (place + 1) * SIZE);
    return place;
  }

  /** @param {string} key */
  delete(key) {
    const place = this.places.get(key);
    if (place === undefined) return;
    this.places.delete(key);
    this.free.push(place);
  }

  /** The values of a graph, oldest first; `null` without such a row. @param {string} key @param {Kind} kind */
  values(key, kind) {
    const place = this.places.get(key);
    if (place === undefined) return null;
    const begin = place * SIZE + KINDS[kind] * SPARK_LENGTH;
    const values = new Float32Array(SPARK_LENGTH);
    const oldest = this.at + 1;
    values.set(this.numbers.subarray(begin + oldest, begin + SPARK_LENGTH));
    values.set(this.numbers.subarray(begin, begin + oldest), SPARK_LENGTH - oldest);
    return values;
  }

  /** Replaces unknown values at the beginning by the values before.
   * @param {string} key @param {Kind} kind @param {number[]} older up to now, unknown is NaN */
  fillOlder(key, kind, older) {
    const values = this.values(key, kind);
    if (!values) return;
    const begin = values.findIndex((value) => !Number.isNaN(value));
    const length = begin < 0 ? values.length : begin;
    // What is known already is at the end of both.
    const overlap = values.length - length;
    const source = older.slice(0, Math.max(0, older.length - overlap)).slice(-length);
    values.set(source, length - source.length);
    const first = (this.places.get(key) ?? 0) * SIZE + KINDS[kind] * SPARK_LENGTH;
    values.forEach((value, index) => (this.numbers[first + ((this.at + 1 + index) % SPARK_LENGTH)] = value));
  }
}
