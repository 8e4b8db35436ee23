// Compiles small standalone AssemblyScript modules that speak the guest ABI by hand, as asc compiles operators.

import asc from 'assemblyscript/asc'

export interface Compiled {
  wasm: Uint8Array<ArrayBuffer>
  sourceMap: string
}

/** The ABI without the SDK: regions of fixed size, everything answers 0. */
const ABI = `
const mailbox: usize = memory.data(32, 16)
const input: usize = memory.data(4096, 16)
const output: usize = memory.data(4096, 16)
export function spqr_abi(): i32 { return 1 }
export function allocate(inputBytes: i32, outputBytes: i32): i32 {
  store<u32>(mailbox, <u32>input)
  store<u32>(mailbox, 4096, 4)
  store<u32>(mailbox, <u32>output, 8)
  store<u32>(mailbox, 4096, 12)
  return <i32>mailbox
}
export function configure(bytes: i32): i32 { return 0 }
export function flush(): i32 { return 0 }
export function watermark(eventTimeMs: f64): i32 { return 0 }
`

/**
 * @param source of \`operator.ts\`; it must export \`process(bytes: i32): i32\`
 * @throws Error with the compiler's words
 */
export async function compileAssemblyScript(source: string, options: string[] = []): Promise<Compiled> {
  const files: Record<string, string> = { 'operator.ts': source, 'abi.ts': ABI }
  const written = new Map<string, string | Uint8Array>()
  const { error, stderr } = await asc.main(
    [
      'operator.ts',
      'abi.ts',
      '--outFile=operator.wasm',
      '--sourceMap',
      '--runtime=minimal',
      '-O3',
      '--enable=simd',
      '--exportStart=spqr_start',
      '--initialMemory=1',
      ...options,
    ],
    {
      readFile: (name) => files[name] ?? null,
      writeFile: (name, contents) => {
        written.set(name, contents)
      },
      listFiles: () => [],
    },
  )
  if (error) throw new Error(`${error.message}\n${stderr.toString()}`)
  return {
    wasm: Uint8Array.from(written.get('operator.wasm') as Uint8Array),
    sourceMap: String(written.get('operator.wasm.map')),
  }
}
