import { CONTROL_END } from './control.js'
import { RELAXED_SIMD, SIMD128 } from './generated/modules.js'

export type WasmTier = 'simd128' | 'relaxed-simd'

/** What the modules export. Addresses and counts; a job is the address of {@link Job}'s words. */
export interface KernelExports {
  multiply(job: number, from: number, to: number, scratch: number): void
  multiplyByFloats(job: number, from: number, to: number, scratch: number): void
  /** The share of thread `index` of the product that stands in the control block, and what others have left of theirs. */
  work(control: number, index: number): void
  /** Prepares a run of a program; then each thread's `work`, or `runAlone`. */
  beginProgram(control: number, program: number): void
  runAlone(program: number): void
  /** 0, or 1 + the first row that is not finite. */
  quantizeRows(job: number, scratch: number): number
  hadamardRows(x: number, rows: number, n: number, scale: number): void
  packBlock(kind: number, rows: number, stride: number, count: number, columns: number, used: number, group: number, add: number, to: number, limits: number, scratch: number): void
  probeDot2(a: number, b: number, count: number, out: number): void
  probeDot4(a: number, b: number, count: number, out: number): void
}

/** Below this address lie the module's constants and the control block of the threads. */
export const HEAP_START = CONTROL_END
const MAXIMUM_PAGES = 65536

function decode(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))
}

/**
 * The bytes of a tier's module. A module names whether the memory it imports is shared, so threads need other bytes:
 * the flags of the one memory import (WebAssembly core specification, limits: 1 has a maximum, 3 is shared as well).
 */
export function moduleBytes(tier: WasmTier, shared: boolean): Uint8Array<ArrayBuffer> {
  const bytes = decode(tier === 'relaxed-simd' ? RELAXED_SIMD : SIMD128)
  if (shared) bytes[memoryFlags(bytes)] = 3
  return bytes
}

const IMPORT_SECTION = 2
const MEMORY_IMPORT = 2

function memoryFlags(bytes: Uint8Array): number {
  let at = 8
  const number = (): number => {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++] ?? 0
      value |= (byte & 127) << shift
      if (byte < 128) return value
    }
  }
  while (at < bytes.length) {
    const section = bytes[at++]
    const size = number()
    if (section !== IMPORT_SECTION) {
      at += size
      continue
    }
    number()
    for (let name = 0; name < 2; name++) {
      const length = number()
      at += length
    }
    if (bytes[at] === MEMORY_IMPORT) return at + 1
    break
  }
  throw new Error('the kernel module imports no memory')
}

/** A memory the modules can use; shared if threads will. */
export function makeMemory(shared: boolean): WebAssembly.Memory {
  return new WebAssembly.Memory({ initial: 2, maximum: MAXIMUM_PAGES, shared })
}

/** Runs a compiled module over a memory. */
export function instantiate(module: WebAssembly.Module, memory: WebAssembly.Memory): KernelExports {
  const { exports } = new WebAssembly.Instance(module, { env: { memory } })
  return exports as object as KernelExports
}
