// compiled by both asc and tsc: integer constants only, built with + * <<
//
// The record layout and the guest ABI, written once. The host, the rings, the embedded log and every operator read
// records in this one layout; nothing is converted between them.
//
// A record starts at a multiple of 8 and is padded with zeros to a multiple of 8. Little-endian.
//
//    0 u32 length         bytes of the whole record, header and padding included
//    4 u8  kind           KIND_*
//    5 u8  flags          FLAG_*
//    6 u16 port           index of the output port it leaves by, or of the component's first port (0)
//    8 i64 timestamp      ms since 1970
//   16 u64 sequence       the host's: n-th record that left this component in this slot, over all ports, from 1
//   24 i64 sourceOffset   where it came from: offset in its source partition (barrier: the epoch)
//   32 u32 source         which source partition: (index of the source in the pipeline << 16) + partition
//   36 u32 keyBytes
//   40 u32 headersBytes
//   44 u32 valueBytes
//   48     key, headers, value, padding
//
// Headers are a run of {u32 nameBytes, name, u32 valueBytes (0xffffffff: null), value}, not padded.

export const RECORD_LENGTH = 0
export const RECORD_KIND = 4
export const RECORD_FLAGS = 5
export const RECORD_PORT = 6
export const RECORD_TIMESTAMP = 8
export const RECORD_SEQUENCE = 16
export const RECORD_SOURCE_OFFSET = 24
export const RECORD_SOURCE = 32
export const RECORD_KEY_BYTES = 36
export const RECORD_HEADERS_BYTES = 40
export const RECORD_VALUE_BYTES = 44
export const RECORD_HEADER_BYTES = 48
export const RECORD_ALIGNMENT = 8

/** Fills the end of a ring that the next record does not fit into; only length and kind are set. */
export const KIND_PADDING = 0
export const KIND_DATA = 1
export const KIND_BARRIER = 2
export const KIND_WATERMARK = 3
export const KIND_END = 4
/** The ring goes on in the next, larger one. */
export const KIND_MOVED = 5

/** The record has a key (which may be empty). */
export const FLAG_KEY = 1
/** The record has no value: a tombstone. */
export const FLAG_TOMBSTONE = 2

// The guest ABI. Exports of an operator module:
//
//   memory                                   at most what admission allows
//   spqr_start(): void                       the module's own top level, which names the operator. Optional; called once,
//                                            before all else. A start section is refused: nothing runs unmetered
//   spqr_abi(): i32                          ABI_VERSION
//   allocate(inputBytes, outputBytes): i32   makes (or makes larger) both regions → address of the mailbox, which never
//                                            moves. Called before anything else; again between calls; at least these sizes
//   configure(bytes): i32                    settings as JSON text in the input region → CHANGE_*. At start and at a change
//   process(bytes): i32                      whole records of KIND_DATA in the input region → bytes consumed: whole
//                                            records, at least one. The rest is passed again
//   flush(): i32                             emitWhen fired → 0
//   watermark(eventTimeMs: f64): i32         → 0
//
// A negative result is a fault: FAULT_*. So is a trap. Either undoes the whole call.
//
// Imports, all of the namespace `env`, nothing else links:
//
//   hand_over(): void                        output region is full: the host takes MAILBOX_OUTPUT_BYTES of it, sets them to 0
//   reject(offset, pointer, bytes): void     the record at this offset of the input was not processed and left no trace in
//                                            the guest: it is INVALID_RECORD, with this UTF-8 message
//   abort(message, file, line, column): void AssemblyScript's own strings; ends the call
//   log(level, pointer, bytes): void         UTF-8; level LOG_*; capped by the host
//   flush_now(): void                        flush after the present call (emitWhen: {operator: true})
//   clock(): f64, random(): f64, seed(): f64 with the permission `clock` / `random`; clock is fixed per call
//   trace(message, n, a0, a1, a2, a3, a4)    AssemblyScript's; goes to log
//
// The mailbox, u32 words in guest memory. G: the guest writes it, H: the host does.
//
//    0 G input      address of the input region, a multiple of 8
//    4 G inputCapacity
//    8 G output     address of the output region, a multiple of 8
//   12 G outputCapacity
//   16 G outputBytes bytes of whole records in the output region that were not handed over (H sets 0 when it takes them)
//   20 G progress   offset in the input of the record in work: a hint for the search of a poison record
//   24 H portsLow   bit n: something listens at port n; a record for another port may be left out
//   28 H portsHigh
//
// Records in the output region are in the record layout; the guest sets length, kind, flags, port, timestamp, sourceOffset,
// source and the three lengths. The host checks each frame, stamps the sequence and drops what names no port.

export const ABI_VERSION = 1

export const MAILBOX_INPUT = 0
export const MAILBOX_INPUT_CAPACITY = 4
export const MAILBOX_OUTPUT = 8
export const MAILBOX_OUTPUT_CAPACITY = 12
export const MAILBOX_OUTPUT_BYTES = 16
export const MAILBOX_PROGRESS = 20
export const MAILBOX_PORTS_LOW = 24
export const MAILBOX_PORTS_HIGH = 28
export const MAILBOX_BYTES = 32

export const PORTS_MAX = 64

/** `configure`: the state goes on. */
export const CHANGE_KEEP = 0
/** `configure`: the settings want a new state; the guest has dropped the old one. */
export const CHANGE_RESET = 1

/** The record at `progress` is not what the operator reads. */
export const FAULT_INVALID_RECORD = -1
/** Anything else. */
export const FAULT_OPERATOR = -2

export const LOG_DEBUG = 0
export const LOG_INFO = 1
export const LOG_WARN = 2
export const LOG_ERROR = 3
