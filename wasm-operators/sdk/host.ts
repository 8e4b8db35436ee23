// What the host links into a module, all of the namespace `env`; only what is used becomes an import.
// Compiled by asc. The table of meanings is in wasm-operators/abi.ts.

/** The output region is full: the host takes it, and sets its bytes to 0 in the mailbox. */
@external('env', 'hand_over')
export declare function handOver(): void

@external('env', 'reject')
export declare function rejectRecord(offset: u32, pointer: usize, bytes: u32): void

@external('env', 'log')
export declare function logLine(level: i32, pointer: usize, bytes: u32): void

@external('env', 'flush_now')
export declare function requestFlush(): void

/** Milliseconds since 1970, fixed during a call. Asks for the permission `clock` in the manifest. */
@external('env', 'clock')
export declare function clock(): f64

/** A number in 0 … 1 from the host's seeded generator. Asks for the permission `random` in the manifest. */
@external('env', 'random')
export declare function random(): f64
