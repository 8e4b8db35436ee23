// What is kept of an instance that rests: how its memory differs from that of one that has only started, and its mutable
// globals. Runs on: compute. Kept are runs of words: where one begins, how
// many, the words.

/** Runs with so few equal words between them are kept as one: a new one would cost as much. */
const GAP_WORDS_MAX = 2

const startedMemories = new WeakMap<WebAssembly.Module, Int32Array>()
/** Grows to the largest; reused. */
let scratch = new Int32Array(4096)

export interface RestingState {
  memoryBytes: number
  runs: Int32Array
  globals: (number | bigint)[]
}

/** Notes what the memory of this module's instances is after the start; the first instance shows it. */
export function noteStartedMemory(module: WebAssembly.Module, memory: ArrayBuffer): void {
  if (!startedMemories.has(module)) startedMemories.set(module, new Int32Array(memory.slice(0)))
}

/** An instance of this module has started on this thread: others can rest. */
export function isStartedMemoryKnown(module: WebAssembly.Module): boolean {
  return startedMemories.has(module)
}

/** Takes about as long as copying it three times. */
export function packMemory(module: WebAssembly.Module, memory: ArrayBuffer): Int32Array {
  const words = new Int32Array(memory)
  const started = startedMemories.get(module)!
  let used = 0
  let runAt = -1
  let runEnd = 0
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!
    // What is behind the started memory was zero.
    if (word === (i < started.length ? started[i]! : 0)) continue
    if (runAt < 0 || i - runEnd > GAP_WORDS_MAX) {
      if (runAt >= 0) used = keep(words, runAt, runEnd, used)
      runAt = i
    }
    runEnd = i + 1
  }
  if (runAt >= 0) used = keep(words, runAt, runEnd, used)
  return scratch.slice(0, used)
}

/** @param memory of the bytes it had, with any content */
export function unpackMemory(module: WebAssembly.Module, runs: Int32Array, memory: ArrayBuffer): void {
  const words = new Int32Array(memory)
  const started = startedMemories.get(module)!
  words.set(started.length > words.length ? started.subarray(0, words.length) : started)
  for (let at = 0; at < runs.length; ) {
    const to = runs[at]!
    const count = runs[at + 1]!
    words.set(runs.subarray(at + 2, at + 2 + count), to)
    at += 2 + count
  }
}

/** The memory as it was, without waking the instance. */
export function memoryOf(module: WebAssembly.Module, { memoryBytes, runs }: RestingState): Uint8Array {
  const memory = new ArrayBuffer(memoryBytes)
  unpackMemory(module, runs, memory)
  return new Uint8Array(memory)
}

/** Adds a run to the scratch memory. @returns words used there */
function keep(words: Int32Array, from: number, to: number, used: number): number {
  const needed = used + 2 + (to - from)
  if (needed > scratch.length) {
    const larger = new Int32Array(Math.max(needed, scratch.length * 2))
    larger.set(scratch)
    scratch = larger
  }
  scratch[used] = from
  scratch[used + 1] = to - from
  scratch.set(words.subarray(from, to), used + 2)
  return needed
}
