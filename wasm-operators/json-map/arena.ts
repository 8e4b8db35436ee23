// Memory that lives for one record: taken by moving a pointer, all given back at once.

import { copyBytes, SLACK } from 'spqr/memory'
import { Writer } from 'spqr/json/writer'

const BLOCK_BYTES: usize = 16 << 10

let blocks: usize[] = []
let sizes: usize[] = []
let block: i32 = -1
let at: usize = 0
let end: usize = 0

/** Forgets everything that was taken. */
export function resetArena(): void {
  block = -1
  at = 0
  end = 0
}

/** So many bytes, not cleared, with SLACK behind them; a multiple of 8 as address. // hot */
@inline
export function take(bytes: usize): usize {
  const size = (bytes + SLACK + 7) & ~7
  if (at + size > end) nextBlock(size)
  const taken = at
  at += size
  return taken
}

/** The next one with so much room. */
function nextBlock(size: usize): void {
  do {
    block++
    if (block == blocks.length) {
      const made = max(size, BLOCK_BYTES)
      blocks.push(heap.alloc(made))
      sizes.push(made)
    }
    at = blocks[block]
    end = at + sizes[block]
  } while (at + size > end)
}

/** A copy of what was written, which stays when the writer is used again. */
export function keep(writer: Writer): usize {
  const copy = take(writer.length)
  copyBytes(copy, writer.start, writer.length)
  return copy
}
