// What `record.json(path)` answers.

import { Paths, Slot, slotNumber, slotRaw, slotText } from './json/paths.ts'
import { KIND_ARRAY, KIND_FALSE, KIND_NULL, KIND_NUMBER, KIND_OBJECT, KIND_STRING, KIND_TRUE } from './json/scan.ts'
import { Writer } from './json/writer.ts'

const scratch = new Writer()

/** The value at one path of the present record; valid during the call. */
@final
export class JsonValue {
  constructor(
    private paths: Paths,
    private slot: Slot,
  ) {}

  private get kind(): u32 {
    return this.paths.kind(this.slot)
  }

  /** The path leads to something, be it `null`. */
  get exists(): bool {
    return this.paths.has(this.slot)
  }
  get isNull(): bool {
    return this.kind == KIND_NULL
  }
  get isBool(): bool {
    return this.kind == KIND_TRUE || this.kind == KIND_FALSE
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

  /** The number, rounded as JSON.parse does; NaN where it is none. */
  get f64(): f64 {
    return this.kind == KIND_NUMBER ? slotNumber(this.slot) : NaN
  }

  /** The number without its fraction, exact for whole numbers of 64 bits, the nearest of them beyond; 0 where it is none. */
  get i64(): i64 {
    if (this.kind != KIND_NUMBER) return 0
    let at = this.slot.start
    const end = this.slot.end
    const negative = load<u8>(at) == 0x2d
    if (negative) at++
    // 19 digits fit into 64 bits without a sign.
    if (end - at > 19) return slotNumber(this.slot) as i64
    let value: u64 = 0
    for (; at < end; at++) {
      const digit = (load<u8>(at) as u32) - 0x30
      if (digit > 9) return slotNumber(this.slot) as i64
      value = value * 10 + digit
    }
    if (value > (i64.MAX_VALUE as u64)) return negative ? i64.MIN_VALUE : i64.MAX_VALUE
    return negative ? -(value as i64) : (value as i64)
  }

  /** The string; '' where it is none. */
  get str(): string {
    if (this.kind != KIND_STRING) return ''
    scratch.clear()
    slotText(this.slot, scratch)
    return scratch.toString()
  }

  /** `true` is true, all else is false. */
  get bool(): bool {
    return this.kind == KIND_TRUE
  }

  /** The JSON text as it stands in the record; '' where nothing is. */
  get raw(): string {
    if (!this.exists) return ''
    scratch.clear()
    slotRaw(this.slot, scratch)
    return scratch.toString()
  }
}
