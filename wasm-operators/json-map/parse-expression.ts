// Reads an expression of `compute`. Names are paths (`product.price`, `items[0]["unit price"]`), or functions where a
// parenthesis follows. From weak to strong: ||, &&, == !=, < <= > >=, + -, * / %, ! and unary -.

import { parseNumber } from 'spqr/json/parse-number'
import { KIND_FALSE, KIND_NULL, KIND_TRUE, skipNumber } from 'spqr/json/scan'
import { Writer } from 'spqr/json/writer'
import { Binary, Call, Expression, Fixed, Negative, Not, Path } from './expression.ts'

const DEPTH_MAX: i32 = 100
/** In the order of OPERATOR_*. */
const OPERATORS: string[] = ['||', '&&', '==', '!=', '<', '<=', '>', '>=', '+', '-', '*', '/', '%']
const STRENGTHS: i32[] = [1, 2, 3, 3, 4, 4, 4, 4, 5, 5, 6, 6, 6]

/** @throws Error that says what is wrong, and where */
export function parseExpression(text: string): Expression {
  const parser = new Parser(text)
  const parsed = parser.expression(0)
  parser.end()
  return parsed
}

class Parser {
  private at: i32 = 0
  private depth: i32 = 0

  constructor(private text: string) {}

  private fail(problem: string): void {
    throw new Error('compute: ' + problem + ' at character ' + (this.at + 1).toString() + ' of "' + this.text + '"')
  }

  private space(): void {
    while (this.at < this.text.length && this.text.charCodeAt(this.at) <= 0x20) this.at++
  }

  private take(what: string): bool {
    this.space()
    if (!this.text.startsWith(what, this.at)) return false
    this.at += what.length
    return true
  }

  end(): void {
    this.space()
    if (this.at < this.text.length) this.fail('an operator is missing')
  }

  expression(weakest: i32): Expression {
    if (++this.depth > DEPTH_MAX) this.fail('nested more than ' + DEPTH_MAX.toString() + ' deep')
    let left = this.operand()
    while (true) {
      const operator = this.peekOperator()
      if (operator < 0 || STRENGTHS[operator] <= weakest) break
      this.at += OPERATORS[operator].length
      left = new Binary(operator, left, this.expression(STRENGTHS[operator]))
    }
    this.depth--
    return left
  }

  /** The longest operator that stands here, -1: none. */
  private peekOperator(): i32 {
    this.space()
    let found = -1
    for (let i = 0; i < OPERATORS.length; i++) {
      if (!this.text.startsWith(OPERATORS[i], this.at)) continue
      if (found < 0 || OPERATORS[i].length > OPERATORS[found].length) found = i
    }
    return found
  }

  private operand(): Expression {
    if (++this.depth > DEPTH_MAX) this.fail('nested more than ' + DEPTH_MAX.toString() + ' deep')
    const made = this.bare()
    this.depth--
    return made
  }

  private bare(): Expression {
    this.space()
    if (this.at >= this.text.length) this.fail('a value is missing')
    if (this.take('!')) return new Not(this.operand())
    if (this.take('-')) return new Negative(this.operand())
    if (this.take('(')) {
      const inner = this.expression(0)
      if (!this.take(')')) this.fail('")" is missing')
      return inner
    }
    const c = this.text.charCodeAt(this.at)
    if (c == 0x22 || c == 0x27) return this.string(c)
    if (<u32>(c - 0x30) <= 9 || c == 0x2e) return this.number()
    return this.name()
  }

  private number(): Expression {
    const begin = this.at
    while (this.at < this.text.length) {
      const c = this.text.charCodeAt(this.at)
      const before = this.at > begin ? this.text.charCodeAt(this.at - 1) | 0x20 : 0
      const sign = (c == 0x2b || c == 0x2d) && before == 0x65
      if (<u32>(c - 0x30) > 9 && c != 0x2e && (c | 0x20) != 0x65 && !sign) break
      this.at++
    }
    const text = this.text.substring(begin, this.at)
    const copy = new Writer()
    copy.text(text.startsWith('.') ? '0' + text : text)
    store<u8>(copy.room(1), 0)
    if (skipNumber(copy.start) != copy.start + copy.length) this.fail('"' + text + '" is no number')
    const value = parseNumber(copy.start, copy.start + copy.length)
    copy.free()
    return Fixed.number(value)
  }

  /** Between quotes of either kind; a backslash makes the next character plain, \n and \t are what they are elsewhere. */
  private string(quote: i32): Expression {
    let value = ''
    this.at++
    while (true) {
      if (this.at >= this.text.length) this.fail('the string has no end')
      let c = this.text.charCodeAt(this.at++)
      if (c == quote) break
      if (c == 0x5c && this.at < this.text.length) {
        c = this.text.charCodeAt(this.at++)
        if (c == 0x6e) c = 10
        else if (c == 0x74) c = 9
      }
      value += String.fromCharCode(c)
    }
    return Fixed.text(value)
  }

  private name(): Expression {
    const begin = this.at
    while (this.at < this.text.length) {
      const c = this.text.charCodeAt(this.at)
      if (c == 0x5b) this.bracket()
      else if (isNameUnit(c) || c == 0x2e) this.at++
      else break
    }
    if (this.at == begin) this.fail('a value is missing')
    const name = this.text.substring(begin, this.at)
    if (this.take('(')) return new Call(name, this.list())
    if (name == 'true') return Fixed.word(KIND_TRUE)
    if (name == 'false') return Fixed.word(KIND_FALSE)
    if (name == 'null') return Fixed.word(KIND_NULL)
    return new Path(name)
  }

  private bracket(): void {
    let quoted = false
    for (; this.at < this.text.length; this.at++) {
      const c = this.text.charCodeAt(this.at)
      if (quoted && c == 0x5c) this.at++
      else if (c == 0x22) quoted = !quoted
      else if (c == 0x5d && !quoted) {
        this.at++
        return
      }
    }
    this.fail('"]" is missing')
  }

  private list(): Expression[] {
    const list: Expression[] = []
    if (this.take(')')) return list
    do list.push(this.expression(0))
    while (this.take(','))
    if (!this.take(')')) this.fail('")" is missing')
    return list
  }
}

function isNameUnit(c: i32): bool {
  return <u32>(c - 0x30) <= 9 || <u32>((c | 0x20) - 0x61) <= 25 || c == 0x5f || c == 0x24 || c == 0x40 || c > 0x7f
}
