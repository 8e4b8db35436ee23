// json-map: pick, drop, rename, set, compute, key, in this order, each on what the one before left. `pick` keeps the
// nesting and the order of the record; `rename` gives a field another name in its place; `set` and `compute` put fields of
// the outermost object, a later one of `compute` seeing the earlier. What is not touched leaves as it stood, to the digit.

import { Change, Emitter, Operator, Record, register, Settings } from 'spqr'
import { isUtf8, skipSpace, skipValue } from 'spqr/json/scan'
import { encodeString } from 'spqr/json/text'
import { Writer } from 'spqr/json/writer'
import { Constant, copyBytes } from 'spqr/memory'
import { keep, resetArena } from './arena.ts'
import { Expression, placesOf } from './expression.ts'
import { parseExpression } from './parse-expression.ts'
import { find, Item, makeItem, Place, print, put, remove, removeNamesakes, textOf, touch, unfold } from './tree.ts'

const KEPT_PART: u8 = 1
const KEPT_WHOLE: u8 = 2

/** A field that is put: its name, the name as JSON, and what is put there. */
class Put {
  constructor(
    public name: Constant,
    public label: Constant,
    /** JSON text; null: `expression`. */
    public text: Constant | null,
    public expression: Expression | null,
  ) {}
}

class Rename {
  constructor(public places: Place[], public label: Constant) {}
}

class JsonMap extends Operator {
  private picks: Place[][] = []
  private picking: bool = false
  private drops: Place[][] = []
  private renames: Rename[] = []
  private puts: Put[] = []
  private key: Place[] | null = null
  private text: Writer = new Writer()
  private keyText: Writer = new Writer()
  private found: StaticArray<usize> = new StaticArray<usize>(0)

  configure(settings: Settings): Change {
    const picks = pathsOf(settings.get('pick'), 'pick')
    const drops = pathsOf(settings.get('drop'), 'drop')
    const renames: Rename[] = []
    const puts: Put[] = []
    const rename = settings.get('rename')
    for (let i = 0; i < rename.length; i++) {
      const places = placesOf(rename.keys[i])
      if (!rename.at(i).isString) throw new Error('rename takes names: ' + rename.at(i).raw)
      if (places.length == 0 || !places[places.length - 1].field) throw new Error('only fields have names: ' + rename.keys[i])
      renames.push(new Rename(places, labelOf(rename.at(i).string)))
    }
    const set = settings.get('set')
    for (let i = 0; i < set.length; i++) {
      puts.push(new Put(Constant.ofText(set.keys[i]), labelOf(set.keys[i]), Constant.ofText(set.at(i).raw), null))
    }
    const compute = settings.get('compute')
    for (let i = 0; i < compute.length; i++) {
      if (!compute.at(i).isString) throw new Error('compute takes expressions as strings: ' + compute.at(i).raw)
      const expression = parseExpression(compute.at(i).string)
      puts.push(new Put(Constant.ofText(compute.keys[i]), labelOf(compute.keys[i]), null, expression))
    }
    this.key = null
    if (settings.get('key').isString) this.key = placesOf(settings.str('key'))
    this.picking = settings.get('pick').isArray
    this.picks = picks
    this.drops = drops
    this.renames = renames
    this.puts = puts
    this.found = new StaticArray<usize>(drops.length)
    return Change.Keep
  }

  // hot
  process(record: Record, out: Emitter): void {
    const at = record.valuePointer
    const end = at + record.valueBytes
    resetArena()
    const behind = load<u8>(end)
    store<u8>(end, 0)
    const problem = this.change(at, end)
    store<u8>(end, behind)
    if (problem) {
      record.reject(problem)
      return
    }
    this.send(record, out)
  }

  /** Leaves the new value in `text`, the new key in `keyText`; null, or what is wrong with the record. */
  private change(at: usize, end: usize): string | null {
    const begin = skipSpace(at)
    const changes = this.picking || this.drops.length > 0 || this.renames.length > 0 || this.puts.length > 0
    let stop: usize
    let root: Item
    if (load<u8>(begin) == 0x7b) {
      root = makeItem(begin, 0, null)
      if (!unfold(root)) return NOT_JSON
      // An empty object is not walked over.
      stop = root.end ? root.end : skipValue(begin, 0)
      root.end = stop
    } else {
      stop = skipValue(begin, 0)
      if (stop && changes && skipSpace(stop) == end) return 'the value is not an object'
      root = makeItem(begin, stop, null)
    }
    if (stop == 0 || skipSpace(stop) != end || !isUtf8(begin, end)) return NOT_JSON
    if (this.picking) this.pick(root)
    this.drop(root)
    this.rename(root)
    this.put(root)
    this.text.clear()
    print(root, this.text)
    this.keyText.clear()
    const key = this.key
    if (key) {
      const found = find(root, key)
      this.keyText.room(1)
      this.hasKey = found != null
      if (found) textOf(found, this.keyText)
    } else this.hasKey = false
    return null
  }

  /** `keyText` is the record's key. */
  private hasKey: bool = false

  private pick(root: Item): void {
    for (let i = 0; i < this.picks.length; i++) {
      const found = find(root, this.picks[i])
      if (!found) continue
      found.kept = KEPT_WHOLE
      let parent = found.parent
      while (parent) {
        parent.kept = max(parent.kept, KEPT_PART)
        parent = parent.parent
      }
    }
    if (root.kept != KEPT_WHOLE) sweep(root)
  }

  private drop(root: Item): void {
    const count = this.drops.length
    // All are found before the first one goes, or elements would move up.
    for (let i = 0; i < count; i++) this.found[i] = changetype<usize>(find(root, this.drops[i]))
    for (let i = 0; i < count; i++) if (this.found[i]) remove(changetype<Item>(this.found[i]))
  }

  private rename(root: Item): void {
    for (let i = 0; i < this.renames.length; i++) {
      const found = find(root, this.renames[i].places)
      if (!found) continue
      const parent = found.parent!
      removeNamesakes(parent, found)
      found.name = this.renames[i].label.pointer
      found.nameBytes = this.renames[i].label.bytes
      found.escaped = true
      found.anew = true
      removeNamesakes(parent, found)
      touch(parent)
    }
  }

  private put(root: Item): void {
    const text = this.text
    for (let i = 0; i < this.puts.length; i++) {
      const entry = this.puts[i]
      const fixed = entry.text
      if (fixed) put(root, entry.name, entry.label, fixed.pointer, fixed.pointer + fixed.bytes)
      else {
        const expression = entry.expression!
        expression.evaluate(root)
        text.clear()
        expression.printJson(text)
        const start = keep(text)
        store<u8>(start + text.length, 0)
        put(root, entry.name, entry.label, start, start + text.length)
      }
    }
  }

  private send(record: Record, out: Emitter): void {
    if (!out.isConnected(0)) return
    const keyAt = this.hasKey ? this.keyText.start : record.keyPointer
    const keyBytes = this.hasKey ? this.keyText.length : record.keyBytes
    const keyed = this.hasKey || record.hasKey
    const headersBytes = record.headersBytes
    let at = out.begin(0, keyed ? (keyBytes as i32) : -1, headersBytes as i32, this.text.length as i32)
    copyBytes(at, keyAt, keyBytes)
    at += keyBytes
    if (headersBytes) copyBytes(at, record.headersPointer, headersBytes)
    copyBytes(at + headersBytes, this.text.start, this.text.length)
    out.end()
  }
}

const NOT_JSON = 'the value is not JSON'

/** Takes out what `pick` did not keep. */
function sweep(item: Item): void {
  touch(item)
  let child = item.first
  while (child) {
    if (child.kept == 0) child.removed = true
    else if (child.kept == KEPT_PART) sweep(child)
    child = child.next
  }
}

function pathsOf(list: Settings, name: string): Place[][] {
  const made: Place[][] = []
  if (list.exists && !list.isNull && !list.isArray) throw new Error(name + ' is a list of paths')
  for (let i = 0; i < list.length; i++) {
    if (!list.at(i).isString) throw new Error(name + ' is a list of paths, not ' + list.at(i).raw)
    made.push(placesOf(list.at(i).string))
  }
  return made
}

/** A name as JSON has it. */
function labelOf(name: string): Constant {
  const plain = new Writer()
  const quoted = new Writer()
  plain.text(name)
  plain.room(1)
  encodeString(plain.start, plain.length, quoted)
  const made = Constant.ofBytes(quoted.start, quoted.length)
  plain.free()
  quoted.free()
  return made
}

register(new JsonMap())
