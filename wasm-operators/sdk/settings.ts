// The settings of a component as the operator sees them: a tree made once per `configure`.

import { parseNumber } from './json/parse-number.ts'
import {
  KIND_ARRAY,
  KIND_FALSE,
  KIND_MISSING,
  KIND_NULL,
  KIND_NUMBER,
  KIND_OBJECT,
  KIND_STRING,
  KIND_TRUE,
  kindAt,
  skipSpace,
  skipValue,
} from './json/scan.ts'
import { decodeString } from './json/text.ts'
import { Writer } from './json/writer.ts'

const NO_KEYS: string[] = []
const NO_ITEMS: Settings[] = []
/** Names that are gone through one by one; of more, where each stands is kept. */
const LISTED_MAX: i32 = 16

/**
 * One value of the settings. What is not there is a value of its own, `exists` false, so that chains need no checks:
 * `settings.get('window').f64('seconds', 60)`.
 */
@final
export class Settings {
  /** KIND_* of json/scan.ts. */
  kind: u32 = KIND_MISSING
  /** Of a number; NaN for all else. */
  number: f64 = NaN
  /** Of a string; '' for all else. */
  string: string = ''
  /** Names of the fields of an object, in their order; of duplicates the last counts. */
  keys: string[] = NO_KEYS
  private items: Settings[] = NO_ITEMS
  /** Where each name stands in `keys`; null: they are few. */
  private places: Map<string, i32> | null = null
  /** The text that the whole tree was read from, and where in it this value stands. */
  private source: ArrayBuffer | null = null
  private from: u32 = 0
  private bytes: u32 = 0

  /** @throws Error where the text is not JSON */
  static parse(text: string): Settings {
    const copy = new Writer()
    copy.text(text)
    const parsed = Settings.read(copy.room(1) - copy.length, copy.length)
    copy.free()
    if (!parsed) throw new Error('the settings are not JSON')
    return parsed
  }

  /** JSON at `at`, null where it is none; the byte behind it must be writable. */
  static read(at: usize, bytes: usize): Settings | null {
    const end = at + bytes
    const behind = load<u8>(end)
    store<u8>(end, 0)
    const begin = skipSpace(at)
    const stop = skipValue(begin, 0)
    const valid = stop != 0 && skipSpace(stop) == end
    store<u8>(end, behind)
    if (!valid) return null
    const source = new ArrayBuffer((stop - begin) as i32)
    memory.copy(changetype<usize>(source), begin, stop - begin)
    return build(begin, stop, source, begin)
  }

  /** The JSON text it was read from, compact or not; '' where it is missing. */
  get raw(): string {
    const source = this.source
    return source ? String.UTF8.decodeUnsafe(changetype<usize>(source) + this.from, this.bytes) : ''
  }

  get exists(): bool {
    return this.kind != KIND_MISSING
  }
  get isNull(): bool {
    return this.kind == KIND_NULL
  }
  get isBool(): bool {
    return this.kind == KIND_TRUE || this.kind == KIND_FALSE
  }
  get isTrue(): bool {
    return this.kind == KIND_TRUE
  }
  get isNumber(): bool {
    return this.kind == KIND_NUMBER
  }
  get isString(): bool {
    return this.kind == KIND_STRING
  }
  get isArray(): bool {
    return this.kind == KIND_ARRAY
  }
  get isObject(): bool {
    return this.kind == KIND_OBJECT
  }

  /** Elements of an array, or fields of an object. */
  get length(): i32 {
    return this.items.length
  }

  /** The n-th element or field; a missing one where there is none. */
  at(index: i32): Settings {
    return index >= 0 && index < this.items.length ? this.items[index] : MISSING
  }

  /** The field of this name; a missing one where there is none. */
  get(name: string): Settings {
    const index = this.indexOf(name)
    return index < 0 ? MISSING : this.items[index]
  }

  has(name: string): bool {
    return this.indexOf(name) >= 0
  }

  /** A field as a string, `fallback` where it is none. */
  str(name: string, fallback: string = ''): string {
    const field = this.get(name)
    return field.isString ? field.string : fallback
  }

  f64(name: string, fallback: f64 = 0): f64 {
    const field = this.get(name)
    return field.isNumber ? field.number : fallback
  }

  i64(name: string, fallback: i64 = 0): i64 {
    const field = this.get(name)
    return field.isNumber ? (field.number as i64) : fallback
  }

  bool(name: string, fallback: bool = false): bool {
    const field = this.get(name)
    return field.isBool ? field.isTrue : fallback
  }

  /** Adds a field or replaces the one of this name. */
  private put(name: string, value: Settings): void {
    const index = this.indexOf(name)
    if (index >= 0) {
      this.items[index] = value
      return
    }
    const keys = this.keys
    keys.push(name)
    this.items.push(value)
    if (keys.length <= LISTED_MAX) return
    let places = this.places
    if (!places) {
      this.places = places = new Map<string, i32>()
      for (let i = 0; i < LISTED_MAX; i++) places.set(keys[i], i)
    }
    places.set(name, keys.length - 1)
  }

  private indexOf(name: string): i32 {
    const places = this.places
    if (!places) return this.keys.indexOf(name)
    return places.has(name) ? places.get(name) : -1
  }

  /** For the parser alone, as are the next two. */
  add(name: string | null, value: Settings): void {
    if (name === null) this.items.push(value)
    else this.put(name, value)
  }

  /** Lists of its own: most values have none, and a list may have hundreds of thousands of them. */
  open(): void {
    if (this.kind == KIND_OBJECT) this.keys = []
    this.items = []
  }

  stands(source: ArrayBuffer, from: usize, bytes: usize): void {
    this.source = source
    this.from = from as u32
    this.bytes = bytes as u32
  }
}

const MISSING = new Settings()
const scratch = new Writer()

/** The value at `at … end`, whose form was checked before. @param base where the text begins of which `source` is a copy */
function build(at: usize, end: usize, source: ArrayBuffer, base: usize): Settings {
  const made = new Settings()
  made.kind = kindAt(at)
  made.stands(source, at - base, end - at)
  if (made.kind == KIND_NUMBER) made.number = parseNumber(at, end)
  else if (made.kind == KIND_STRING) made.string = textOf(at + 1, end - 1)
  else if (made.kind == KIND_ARRAY || made.kind == KIND_OBJECT) {
    made.open()
    at = skipSpace(at + 1)
    while (at < end - 1) {
      let name: string | null = null
      if (made.kind == KIND_OBJECT) {
        const keyEnd = skipValue(at, 0)
        name = textOf(at + 1, keyEnd - 1)
        at = skipSpace(skipSpace(keyEnd) + 1)
      }
      const valueEnd = skipValue(at, 0)
      made.add(name, build(at, valueEnd, source, base))
      at = skipSpace(valueEnd)
      if (load<u8>(at) == 0x2c) at = skipSpace(at + 1)
    }
  }
  return made
}

function textOf(at: usize, end: usize): string {
  scratch.clear()
  decodeString(at, end, scratch)
  return scratch.toString()
}
