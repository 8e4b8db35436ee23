// Paths of the product: `a.b[0].c`; a field with a dot or bracket in its name is quoted as in JSON: `["a.b"].c`.
// The empty path is the whole value.

/** One step of a path: into a field, or into an element. */
@final
export class Step {
  /** Field name; null: an element. */
  field: string | null = null
  index: u32 = 0
}

/** A path may have this many steps. */
export const PATH_STEPS_MAX: i32 = 64

/** @throws Error that names the path and what is wrong with it */
export function parsePath(path: string): Step[] {
  const steps: Step[] = []
  let at = 0
  let afterDot = true
  while (at < path.length) {
    const step = new Step()
    const c = path.charCodeAt(at)
    if (c == 0x5b) {
      if (at > 0 && afterDot) throw new Error('path "' + path + '": a name must follow each dot')
      at = path.charCodeAt(at + 1) == 0x22 ? quotedStep(path, at, step) : indexStep(path, at, step)
    } else {
      if (!afterDot) throw new Error('path "' + path + '": a dot or "[" must follow "]"')
      const begin = at
      while (at < path.length && path.charCodeAt(at) != 0x2e && path.charCodeAt(at) != 0x5b) at++
      if (at == begin) throw new Error('path "' + path + '": a name must not be empty; quote it: [""]')
      step.field = path.substring(begin, at)
    }
    steps.push(step)
    if (steps.length > PATH_STEPS_MAX)
      throw new Error('a path may have ' + PATH_STEPS_MAX.toString() + ' steps at most')
    afterDot = at < path.length && path.charCodeAt(at) == 0x2e
    if (afterDot && ++at == path.length) throw new Error('path "' + path + '": it must not end with a dot')
  }
  return steps
}

/** `[0]` → the position behind it. */
function indexStep(path: string, at: i32, step: Step): i32 {
  const begin = ++at
  let index: u64 = 0
  while (at < path.length && <u32>(path.charCodeAt(at) - 0x30) <= 9) {
    index = min(index * 10 + (path.charCodeAt(at) - 0x30), u32.MAX_VALUE as u64)
    at++
  }
  if (at == begin || path.charCodeAt(at) != 0x5d) {
    throw new Error('path "' + path + '": in brackets stands a number, or a name in double quotes')
  }
  step.index = index as u32
  return at + 1
}

/** `["name"]` → the position behind it. */
function quotedStep(path: string, at: i32, step: Step): i32 {
  at += 2
  let name = ''
  let begin = at
  while (at < path.length && path.charCodeAt(at) != 0x22) {
    if (path.charCodeAt(at) == 0x5c) {
      name += path.substring(begin, at)
      const c = path.charCodeAt(at + 1)
      if (c == 0x75) {
        name += String.fromCharCode(I32.parseInt(path.substring(at + 2, at + 6), 16))
        at += 6
      } else {
        name += unescaped(c)
        at += 2
      }
      begin = at
    } else at++
  }
  if (at + 1 >= path.length || path.charCodeAt(at + 1) != 0x5d) {
    throw new Error('path "' + path + '": a quoted name ends with "]')
  }
  step.field = name + path.substring(begin, at)
  return at + 2
}

function unescaped(c: i32): string {
  switch (c) {
    case 0x62:
      return '\b'
    case 0x66:
      return '\f'
    case 0x6e:
      return '\n'
    case 0x72:
      return '\r'
    case 0x74:
      return '\t'
    default:
      return String.fromCharCode(c)
  }
}
