// Reads a pattern in RE2's syntax (github.com/google/re2/wiki/Syntax). Groups are not captured and laziness is ignored:
// neither changes whether there is a match. Not supported: \C, and classes of Unicode other than those of unicode.ts.

import {
  Assert,
  ASSERT_BEGIN,
  ASSERT_END,
  ASSERT_LINE_BEGIN,
  ASSERT_LINE_END,
  ASSERT_NO_WORD,
  ASSERT_WORD,
  Choice,
  Class,
  Part,
  Program,
  Repeat,
  Sequence,
} from './program.ts'
import { append, folded, negated, normalized, POINT_MAX } from './ranges.ts'
import { unicodeClass } from './unicode.ts'

const REPEAT_MAX: i32 = 1000
const DEPTH_MAX: i32 = 100
const FLAG_FOLD: i32 = 1
const FLAG_LINES: i32 = 2
const FLAG_DOT_ALL: i32 = 4
const NO_POINT: i32 = -1

/** @throws Error that says what is wrong, and where */
export function parseRegex(pattern: string): Program {
  const parser = new Parser(pattern)
  return Program.of(parser.whole())
}

class Parser {
  private at: i32 = 0
  private flags: i32 = 0
  private depth: i32 = 0

  constructor(private pattern: string) {}

  whole(): Part {
    const part = this.choice()
    if (this.at < this.pattern.length) this.fail('")" without "("')
    return part
  }

  private fail(problem: string): void {
    throw new Error('matches: ' + problem + ' at character ' + (this.at + 1).toString() + ' of ' + this.pattern)
  }

  private get more(): bool { return this.at < this.pattern.length }

  private looksAt(text: string): bool { return this.pattern.startsWith(text, this.at) }

  private take(text: string): bool {
    if (!this.looksAt(text)) return false
    this.at += text.length
    return true
  }

  /** The next code point, taken. */
  private point(): u32 {
    const point = this.pattern.codePointAt(this.at)
    this.at += point > 0xffff ? 2 : 1
    return point
  }

  private choice(): Part {
    if (++this.depth > DEPTH_MAX) this.fail('groups are nested more than ' + DEPTH_MAX.toString() + ' deep')
    const parts: Part[] = [this.sequence()]
    while (this.take('|')) parts.push(this.sequence())
    this.depth--
    return parts.length == 1 ? parts[0] : new Choice(parts)
  }

  private sequence(): Part {
    const parts: Part[] = []
    while (this.more && !this.looksAt('|') && !this.looksAt(')')) {
      if (this.take('\\Q')) {
        while (this.more && !this.take('\\E')) parts.push(this.literal(this.point()))
        continue
      }
      const part = this.atom()
      if (part) parts.push(this.repeated(part))
    }
    return parts.length == 1 ? parts[0] : new Sequence(parts)
  }

  private repeated(part: Part): Part {
    let count = 0
    while (this.more) {
      let least = 0
      let most = -1
      if (this.take('*')) {}
      else if (this.take('+')) least = 1
      else if (this.take('?')) most = 1
      else if (this.looksAt('{')) {
        const begin = this.at++
        least = this.number()
        most = least
        if (least >= 0 && this.take(',')) most = this.looksAt('}') ? -1 : this.number()
        if (least < 0 || most < -1 || !this.take('}')) {
          // Not a repetition: the character itself.
          this.at = begin
          return part
        }
        if (least > REPEAT_MAX || most > REPEAT_MAX) this.fail('a repetition counts to 1000 at most')
        if (most >= 0 && most < least) this.fail('a repetition that counts down')
      } else return part
      this.take('?')
      if (++count > 1) this.fail('a repetition of a repetition')
      part = new Repeat(part, least, most)
    }
    return part
  }

  /** A number, or -2 where there is none. */
  private number(): i32 {
    const begin = this.at
    let value = 0
    while (this.more && <u32>(this.pattern.charCodeAt(this.at) - 0x30) <= 9) {
      value = min(value * 10 + this.pattern.charCodeAt(this.at) - 0x30, 100_000)
      this.at++
    }
    return this.at == begin ? -2 : value
  }

  /** One atom; null where flags were set, which are none. */
  private atom(): Part | null {
    if (this.take('(')) return this.group()
    if (this.take('[')) return this.bracket()
    if (this.take('.')) return this.flags & FLAG_DOT_ALL ? Class.any() : new Class([0, 9, 11, POINT_MAX])
    if (this.take('^')) return new Assert(this.flags & FLAG_LINES ? ASSERT_LINE_BEGIN : ASSERT_BEGIN)
    if (this.take('$')) return new Assert(this.flags & FLAG_LINES ? ASSERT_LINE_END : ASSERT_END)
    if (this.looksAt('*') || this.looksAt('+') || this.looksAt('?')) this.fail('a repetition of nothing')
    if (this.looksAt('\\')) return this.escape()
    return this.literal(this.point())
  }

  private literal(point: u32): Part {
    if (!(this.flags & FLAG_FOLD)) return Class.one(point)
    return new Class(folded([point, point]))
  }

  private group(): Part | null {
    const outer = this.flags
    if (this.take('?')) {
      if (this.looksAt('=') || this.looksAt('!') || this.looksAt('<=') || this.looksAt('<!')) this.fail('RE2 has no look-around')
      if (this.take('P<') || this.take('<')) {
        while (this.more && !this.looksAt('>')) this.at++
        if (!this.take('>')) this.fail('">" is missing')
      } else {
        let on = true
        while (this.more && !this.looksAt(':') && !this.looksAt(')')) {
          let flag = 0
          if (this.take('i')) flag = FLAG_FOLD
          else if (this.take('m')) flag = FLAG_LINES
          else if (this.take('s')) flag = FLAG_DOT_ALL
          else if (this.take('U')) continue
          else if (this.take('-')) on = false
          else this.fail('no kind of group')
          if (on) this.flags |= flag
          else this.flags &= ~flag
        }
        // `(?i)` holds to the end of the group around it.
        if (this.take(')')) return null
        if (!this.take(':')) this.fail('")" is missing')
      }
    }
    const part = this.choice()
    if (!this.take(')')) this.fail('")" is missing')
    this.flags = outer
    return part
  }

  private escape(): Part {
    const begin = this.at
    this.at++
    if (this.take('A')) return new Assert(ASSERT_BEGIN)
    if (this.take('z')) return new Assert(ASSERT_END)
    if (this.take('b')) return new Assert(ASSERT_WORD)
    if (this.take('B')) return new Assert(ASSERT_NO_WORD)
    this.at = begin
    const ranges: u32[] = []
    const point = this.escaped(ranges)
    if (point != NO_POINT) return this.literal(point)
    return new Class(this.flags & FLAG_FOLD ? folded(normalized(ranges)) : normalized(ranges))
  }

  /** From the backslash: a code point, or NO_POINT where it is a class, which is appended to `ranges`. */
  private escaped(ranges: u32[]): i32 {
    this.at++
    if (!this.more) this.fail('a single "\\"')
    const c = this.point()
    switch (c) {
      case 0x64: append(ranges, DIGITS); return NO_POINT
      case 0x44: append(ranges, negated(DIGITS)); return NO_POINT
      case 0x77: append(ranges, WORD); return NO_POINT
      case 0x57: append(ranges, negated(WORD)); return NO_POINT
      case 0x73: append(ranges, SPACE); return NO_POINT
      case 0x53: append(ranges, negated(SPACE)); return NO_POINT
      case 0x61: return 7
      case 0x66: return 12
      case 0x74: return 9
      case 0x6e: return 10
      case 0x72: return 13
      case 0x76: return 11
      case 0x70: case 0x50: this.property(ranges, c == 0x50); return NO_POINT
      case 0x78: return this.hex()
    }
    if (c - 0x30 <= 7) return this.octal(c - 0x30)
    if (c - 0x30 <= 9 || (c | 0x20) - 0x61 <= 25) this.fail('"\\' + String.fromCodePoint(c) + '" is not of RE2\'s syntax, before')
    return c
  }

  private octal(value: u32): u32 {
    const first = this.at
    while (this.at < first + 2 && this.more && <u32>(this.pattern.charCodeAt(this.at) - 0x30) <= 7) {
      value = value * 8 + (this.pattern.charCodeAt(this.at++) - 0x30)
    }
    if (this.at == first && value != 0) this.fail('RE2 has no back-references')
    return value
  }

  private hex(): u32 {
    const braces = this.take('{')
    const digits = braces ? 8 : 2
    const begin = this.at
    let value: u32 = 0
    while (this.more && this.at < begin + digits) {
      const c = <u32>this.pattern.charCodeAt(this.at)
      const digit = c - 0x30 <= 9 ? c - 0x30 : (c | 0x20) - 0x61 <= 5 ? (c | 0x20) - 0x57 : 16
      if (digit > 15) break
      value = value * 16 + digit
      this.at++
    }
    if (this.at == begin || value > POINT_MAX || (braces ? !this.take('}') : this.at != begin + 2)) {
      this.fail('a code is written \\x41 or \\x{1F600}')
    }
    return value
  }

  private property(ranges: u32[], negative: bool): void {
    let name = ''
    if (this.take('{')) {
      const end = this.pattern.indexOf('}', this.at)
      if (end < 0) this.fail('"}" is missing')
      name = this.pattern.substring(this.at, end)
      this.at = end + 1
    } else if (this.more) name = String.fromCodePoint(this.point())
    if (name.startsWith('^')) {
      negative = !negative
      name = name.substring(1)
    }
    const found = unicodeClass(name)
    if (!found) this.fail('the class of Unicode "' + name + '" is not known, before')
    append(ranges, negative ? negated(found!) : found!)
  }

  /** From behind the `[`. */
  private bracket(): Part {
    const negative = this.take('^')
    const ranges: u32[] = []
    let first = true
    while (first || !this.looksAt(']')) {
      if (!this.more) this.fail('"]" is missing')
      first = false
      if (this.looksAt('[:')) {
        const end = this.pattern.indexOf(':]', this.at)
        if (end > 0 && this.posix(this.pattern.substring(this.at + 2, end), ranges)) {
          this.at = end + 2
          continue
        }
      }
      const low = this.looksAt('\\') ? this.escaped(ranges) : (this.point() as i32)
      if (low == NO_POINT) continue
      let high = low
      if (this.looksAt('-') && !this.looksAt('-]') && this.at + 1 < this.pattern.length) {
        this.at++
        high = this.looksAt('\\') ? this.escaped(ranges) : (this.point() as i32)
        if (high < low) this.fail('a range that counts down')
      }
      ranges.push(low)
      ranges.push(high)
    }
    this.at++
    let set = normalized(ranges)
    if (this.flags & FLAG_FOLD) set = folded(set)
    return new Class(negative ? negated(set) : set)
  }

  private posix(name: string, ranges: u32[]): bool {
    const negative = name.startsWith('^')
    const set = posixClass(negative ? name.substring(1) : name)
    if (!set) return false
    append(ranges, negative ? negated(set) : set)
    return true
  }
}

const DIGITS: u32[] = [0x30, 0x39]
const WORD: u32[] = [0x30, 0x39, 0x41, 0x5a, 0x5f, 0x5f, 0x61, 0x7a]
const SPACE: u32[] = [9, 10, 12, 13, 32, 32]

function posixClass(name: string): u32[] | null {
  if (name == 'alnum') return [0x30, 0x39, 0x41, 0x5a, 0x61, 0x7a]
  if (name == 'alpha') return [0x41, 0x5a, 0x61, 0x7a]
  if (name == 'ascii') return [0, 0x7f]
  if (name == 'blank') return [9, 9, 32, 32]
  if (name == 'cntrl') return [0, 0x1f, 0x7f, 0x7f]
  if (name == 'digit') return DIGITS
  if (name == 'graph') return [0x21, 0x7e]
  if (name == 'lower') return [0x61, 0x7a]
  if (name == 'print') return [0x20, 0x7e]
  if (name == 'punct') return [0x21, 0x2f, 0x3a, 0x40, 0x5b, 0x60, 0x7b, 0x7e]
  if (name == 'space') return [9, 13, 32, 32]
  if (name == 'upper') return [0x41, 0x5a]
  if (name == 'word') return WORD
  if (name == 'xdigit') return [0x30, 0x39, 0x41, 0x46, 0x61, 0x66]
  return null
}
