// Record batches: what is written is read back, byte for byte, whatever the codec, the place and the room; what is damaged
// is refused.

import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type PlainRecord, RecordBuffer } from '../../../../host/record/record.ts'
import {
  CODEC_NAMES,
  CODEC_NUMBERS,
  type CodecName,
  compress,
  decompress,
  loadCodecs,
} from '../../../../host/transport/kafka/codecs.ts'
import { crc32c } from '../../../../host/transport/kafka/crc32c.ts'
import { FrameAssembler } from '../../../../host/transport/kafka/frame-assembler.ts'
import {
  BATCH_ATTRIBUTES,
  BATCH_CRC,
  BATCH_MAGIC,
  BATCH_OFFSET,
  writeI64BE,
} from '../../../../host/transport/kafka/record-batch.ts'
import { type ProducerStamp, RecordBatchWriter } from '../../../../host/transport/kafka/record-batch-writer.ts'
import { DamagedBatch, RecordSetReader } from '../../../../host/transport/kafka/record-set-reader.ts'
import { decode, frames, texts, values } from '../suite.ts'

await loadCodecs()

const writers = new Map(CODEC_NAMES.map((codec) => [codec, new RecordBatchWriter(codec)]))

function batchOf(records: PlainRecord[], baseOffset = 0, codec: CodecName = 'none', stamp?: ProducerStamp): Uint8Array {
  const { bytes } = frames(records)
  const batch = writers.get(codec)!.write(bytes, 0, bytes.length, stamp)
  writeI64BE(new DataView(batch.buffer), BATCH_OFFSET, baseOffset)
  return batch
}

const stamp = (id: number): ProducerStamp => ({ id, epoch: 0, sequence: 0, transactional: true })

/** A control batch, as the broker writes it at a transaction's end. */
function marker(offset: number, producer: number, type: 0 | 1): Uint8Array {
  const batch = batchOf(
    [{ key: Uint8Array.of(0, 0, 0, type), value: new Uint8Array(6), timestamp: 0 }],
    offset,
    'none',
    stamp(producer),
  )
  const view = new DataView(batch.buffer)
  view.setInt16(BATCH_ATTRIBUTES, view.getInt16(BATCH_ATTRIBUTES) | 32)
  view.setUint32(BATCH_CRC, crc32c(batch, BATCH_ATTRIBUTES, batch.length))
  return batch
}

function join(...batches: Uint8Array[]): Uint8Array {
  return Buffer.concat(batches)
}

function readAll(reader: RecordSetReader, bytesMax = 1 << 20): PlainRecord[] {
  const all: PlainRecord[] = []
  for (;;) {
    const { frames: read, records } = reader.read(bytesMax)
    if (records === 0) return all
    const decoded = decode(read)
    assert.is(decoded.length, records)
    assert.ok(read.length <= bytesMax || records === 1)
    all.push(...decoded)
  }
}

const bytes = fc.uint8Array({ maxLength: 400 })
const record: fc.Arbitrary<PlainRecord> = fc.record(
  {
    timestamp: fc.integer({ min: -(2 ** 45), max: 2 ** 45 }),
    key: fc.option(bytes, { nil: undefined }),
    value: fc.option(bytes, { nil: undefined }),
    headers: fc.array(
      fc.tuple(fc.string({ maxLength: 20 }), fc.option(fc.uint8Array({ maxLength: 50 }), { nil: null })),
      {
        maxLength: 4,
      },
    ),
  },
  { requiredKeys: ['timestamp'] },
)

/** As it comes back: no empty list of headers, no sequence, its offset. */
function expected(records: PlainRecord[], baseOffset: number): PlainRecord[] {
  const buffer = new RecordBuffer(1024)
  records.forEach((one, i) => {
    buffer.add({ ...one, sourceOffset: baseOffset + i })
  })
  return decode(buffer.bytes.subarray(0, buffer.length))
}

const crc = suite('crc32c')

crc('agrees with the published check values', () => {
  assert.is(crc32c(Buffer.from('123456789'), 0, 9), 0xe3069283)
  assert.is(crc32c(new Uint8Array(32), 0, 32), 0x8a9136aa)
  assert.is(crc32c(Buffer.from('xx123456789yy'), 2, 11), 0xe3069283)
})

crc('is the same wherever the bytes lie, and however many they are', () => {
  const bitwise = (bytes: Uint8Array): number => {
    let sum = -1
    for (const byte of bytes) {
      sum ^= byte
      for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ 0x82f63b78 : sum >>> 1
    }
    return ~sum >>> 0
  }
  const whole = fc.uint8Array({ minLength: 8, maxLength: 200 })
  fc.assert(
    fc.property(whole, fc.nat({ max: 7 }), fc.nat({ max: 7 }), (memory, start, from) => {
      const view = memory.subarray(start)
      assert.is(crc32c(view, Math.min(from, view.length), view.length), bitwise(view.slice(from)))
    }),
    { numRuns: 500 },
  )
  // Long enough for blocks side by side, and what is left of them.
  const long = Uint8Array.from({ length: 14_000 }, (_, i) => Math.imul(i + 1, 0x9e3779b1) >>> 24)
  for (const [from, to] of [
    [0, 4095],
    [0, 4096],
    [0, 4097],
    [3, 8200],
    [61, 14_000],
  ] as const) {
    assert.is(crc32c(long, from, to), bitwise(long.subarray(from, to)), `${from} … ${to}`)
  }
})

crc.run()

const assembler = suite('frame assembler')

assembler('gives whole frames, however the socket cuts them', () => {
  const chunks = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 30 })
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 8 }), chunks, (bodies, sizes) => {
      const sent = bodies.map((body) => {
        const size = Buffer.alloc(4)
        size.writeInt32BE(body.length)
        return Buffer.concat([size, body])
      })
      const stream = Buffer.concat(sent)
      const got: Buffer[] = []
      const frames = new FrameAssembler((frame) => got.push(frame))
      // The socket's one buffer is overwritten each time.
      const buffer = Buffer.alloc(40)
      for (let at = 0, i = 0; at < stream.length; i++) {
        const bytes = stream.copy(buffer, 0, at, at + sizes[i % sizes.length]!)
        frames.push(buffer.subarray(0, bytes))
        at += bytes
      }
      assert.equal(got, sent)
    }),
  )
})

assembler('refuses what no broker would announce', () => {
  const frames = new FrameAssembler(() => {})
  assert.throws(() => frames.push(Buffer.from('HTTP/1.1 400 Bad Request')), /no broker/)
})

assembler.run()

const codecs = suite('codecs')

codecs('each gives back what went in, and shrinks what repeats', () => {
  for (const codec of CODEC_NAMES) {
    const text = Buffer.from('all work and no play '.repeat(10_000))
    const packed = compress(codec, text)
    if (codec !== 'none') assert.ok(packed.length < text.length / 5, codec)
    assert.is(Buffer.compare(decompress(CODEC_NUMBERS[codec], packed), text), 0, codec)
  }
})

codecs('snappy is read without its frame too', async () => {
  const { compressSync } = await import('snappy')
  assert.equal(decompress(2, compressSync('spooker'.repeat(99))).toString(), 'spooker'.repeat(99))
})

codecs('what is none of them, or cut short, is refused', () => {
  assert.throws(() => decompress(5, new Uint8Array(9)), /codec 5/)
  for (const codec of CODEC_NAMES.slice(1)) {
    const packed = compress(codec, Buffer.from('all work and no play '.repeat(1_000)))
    assert.throws(() => decompress(CODEC_NUMBERS[codec], packed.subarray(0, packed.length >> 1)), undefined, codec)
  }
  const bomb = Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f, 0])
  assert.throws(() => decompress(2, bomb), /uncompressed/)
})

codecs.run()

const batch = suite('record batch')

batch('every field of every record comes back, through every codec, in pieces of any size', () => {
  fc.assert(
    fc.property(
      fc.array(record, { minLength: 1, maxLength: 30 }),
      fc.constantFrom(...CODEC_NAMES),
      fc.integer({ min: 0, max: 2 ** 50 }),
      fc.integer({ min: 1, max: 5_000 }),
      (records, codec, baseOffset, bytesMax) => {
        const reader = new RecordSetReader(batchOf(records, baseOffset, codec), baseOffset)
        assert.equal(readAll(reader, bytesMax), expected(records, baseOffset))
        assert.is(reader.nextOffset, baseOffset + records.length)
        assert.ok(reader.isAtEnd)
      },
    ),
    { numRuns: 200 },
  )
})

batch('a second writing of what was read is the same batch', () => {
  fc.assert(
    fc.property(fc.array(record, { minLength: 1, maxLength: 20 }), (records) => {
      const first = batchOf(records)
      const { frames: read } = new RecordSetReader(first, 0).read(1 << 20)
      assert.is(Buffer.compare(new RecordBatchWriter().write(read, 0, read.length), first), 0)
    }),
  )
})

batch('records before the wanted offset are left out, wherever it lies', () => {
  const sizes = [3, 1, 400, 20]
  const records = values(0, 424)
  for (const [i, one] of records.entries()) one.value = Buffer.from(`value ${i} ${'x'.repeat((i * 31) % 700)}`)
  let base = 0
  const set = join(
    ...sizes.map((size) => {
      const one = batchOf(records.slice(base, base + size), base, base === 3 ? 'lz4' : 'none')
      base += size
      return one
    }),
  )
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 424 }), fc.integer({ min: 1, max: 100_000 }), (from, bytesMax) => {
      const reader = new RecordSetReader(set, from)
      assert.equal(texts(readAll(reader, bytesMax)), texts(records.slice(from)))
      assert.is(reader.nextOffset, 424)
    }),
  )
})

batch('records of a megabyte, small ones before and behind', () => {
  const records = [
    ...values(0, 5),
    { value: Buffer.alloc(3 << 20, 7), timestamp: 1 },
    ...values(6, 2),
    { key: Buffer.alloc(1 << 20, 8), timestamp: 1 },
  ]
  for (const bytesMax of [1, 256 << 10, 8 << 20]) {
    assert.equal(readAll(new RecordSetReader(batchOf(records), 0), bytesMax), expected(records, 0))
    const late = readAll(new RecordSetReader(batchOf(records), 5), bytesMax)
    assert.is(Buffer.compare(late[0]!.value!, records[5]!.value!), 0)
  }
})

batch('many headers, empty ones and null ones, outgrow their bytes on the wire', () => {
  const headers = Array.from({ length: 5_000 }, (_, i): [string, Uint8Array | null] => [
    '',
    i % 2 ? null : new Uint8Array(0),
  ])
  const records: PlainRecord[] = [
    { value: new Uint8Array(1), timestamp: 1 },
    { value: new Uint8Array(2), timestamp: 1, headers },
  ]
  for (const bytesMax of [1, 50_000, 1 << 20]) {
    assert.equal(readAll(new RecordSetReader(batchOf(records), 0), bytesMax), expected(records, 0))
  }
})

batch('a batch that is cut short is for the next fetch', () => {
  const [whole, cut] = [batchOf(values(0, 10)), batchOf(values(10, 10), 10)]
  for (const kept of [0, 5, 30, 61, cut.length - 1]) {
    const reader = new RecordSetReader(join(whole, cut.subarray(0, kept)), 0)
    assert.is(readAll(reader).length, 10)
    assert.is(reader.nextOffset, 10)
    assert.ok(reader.isAtEnd)
  }
})

batch('any flipped bit behind the checksum is noticed, and named by offset', () => {
  const whole = batchOf(values(0, 10), 40)
  fc.assert(
    fc.property(fc.integer({ min: BATCH_ATTRIBUTES, max: whole.length - 1 }), fc.nat({ max: 7 }), (at, bit) => {
      const damaged = whole.slice()
      damaged[at]! ^= 1 << bit
      const reader = new RecordSetReader(damaged, 40)
      try {
        // A flipped count of offsets may make it one that lies before what is wanted.
        assert.is(reader.read(1 << 20).records, 0)
      } catch (thrown) {
        if (!(thrown instanceof DamagedBatch)) throw thrown
        assert.is(thrown.offset, 40)
        assert.match(thrown.message, /CRC-32C/)
      }
    }),
    { numRuns: 500 },
  )
})

batch('bytes that lie, under a checksum that is right, are refused and not read past', () => {
  fc.assert(
    fc.property(
      fc.array(record, { minLength: 1, maxLength: 5 }),
      fc.nat(),
      fc.nat({ max: 255 }),
      (records, at, byte) => {
        const lie = batchOf(records)
        lie[61 + (at % (lie.length - 61))] = byte
        new DataView(lie.buffer).setUint32(BATCH_CRC, crc32c(lie, BATCH_ATTRIBUTES, lie.length))
        try {
          for (const reader = new RecordSetReader(lie, 0); reader.read(100).records > 0; );
        } catch (thrown) {
          assert.instance(thrown, DamagedBatch)
        }
      },
    ),
    { numRuns: 500 },
  )
})

batch('the old formats are refused by name', () => {
  const old = batchOf(values(0, 1))
  old[BATCH_MAGIC] = 1
  assert.throws(() => new RecordSetReader(old, 0).read(1000), /format 1/)
})

batch('aborted records and markers are left out; those beside them stay', () => {
  const set = join(
    batchOf(values(0, 2), 0, 'none', stamp(7)),
    batchOf(values(2, 2), 2, 'none', stamp(8)),
    batchOf(values(4, 1), 4),
    marker(5, 7, 0),
    batchOf(values(6, 2), 6, 'none', stamp(7)),
    marker(8, 8, 1),
    marker(9, 7, 1),
  )
  const committed = new RecordSetReader(set, 0, [{ producerId: 7, firstOffset: 0 }])
  assert.equal(texts(readAll(committed)), texts([...values(2, 2), ...values(4, 1), ...values(6, 2)]))
  assert.is(committed.nextOffset, 10)
  const later = new RecordSetReader(set, 3, [{ producerId: 7, firstOffset: 0 }])
  assert.equal(texts(readAll(later)), texts([...values(3, 2), ...values(6, 2)]))
  const seen: string[] = []
  const uncommitted = new RecordSetReader(set, 0, undefined, (info) => {
    seen.push(`${info.baseOffset} ${info.producerId} ${info.marker ?? 'data'}`)
  })
  assert.is(readAll(uncommitted).length, 7)
  assert.equal(seen, ['0 7 data', '2 8 data', '4 -1 data', '5 7 abort', '6 7 data', '8 8 commit', '9 7 commit'])
})

batch.run()
