import { HEAP_START, instantiate, makeMemory, moduleBytes, type KernelExports } from './instance.js'

/**
 * What `i32x4.relaxed_dot_i8x16_i7x16_add_s` does when its second operand leaves 0..127:
 * `unsigned` (x86 with VNNI), `signed` (ARM), `saturating` (x86 without: unsigned, and pairs saturate at 16 bits),
 * `wrong` (not even right inside 0..127: such an engine is refused).
 */
export type DotBehaviour = 'unsigned' | 'signed' | 'saturating' | 'wrong'

export interface ProbeResult {
  readonly relaxed: DotBehaviour | 'absent'
  readonly findings: readonly string[]
}

const VECTORS = 64
/** Enough calls to reach an engine's optimizing compiler, and about a millisecond. */
const ROUNDS = 400

/** Tries the relaxed dot products on known numbers, first in the engine's baseline compiler, then in its optimizing one. */
export function probeRelaxedSimd(): ProbeResult {
  const bytes = moduleBytes('relaxed-simd', false)
  if (!WebAssembly.validate(bytes)) return { relaxed: 'absent', findings: ['this engine does not compile relaxed SIMD; the simd128 kernels run'] }
  const memory = makeMemory(false)
  return classify(instantiate(new WebAssembly.Module(bytes), memory), memory)
}

/** The same for exports that are already there: what a test gives a wrong engine's answers through. */
export function classify(exports: Pick<KernelExports, 'probeDot2' | 'probeDot4'>, memory: WebAssembly.Memory): ProbeResult {
  const a = HEAP_START
  const b = a + VECTORS * 16
  const out = b + VECTORS * 16
  const first = new Int8Array(memory.buffer, a, VECTORS * 16)
  const second = new Uint8Array(memory.buffer, b, VECTORS * 16)
  for (let i = 0; i < first.length; i++) {
    first[i] = i % 16 < 4 ? [-128, 127, -128, 127][i % 4] ?? 0 : ((i * 37) % 255) - 127
    second[i] = i % 16 < 4 ? 127 : (i * 53) % 128
  }
  const wrong = { relaxed: 'wrong', findings: ['the relaxed dot product of this engine gives wrong sums; the simd128 kernels run'] } as const
  for (let round = 0; round < ROUNDS; round++) {
    exports.probeDot4(a, b, VECTORS, out)
    if (!same(new Int32Array(memory.buffer, out, 4), dot4(first, second))) return wrong
    exports.probeDot2(a, b, VECTORS / 8, out)
    if (!same(new Int16Array(memory.buffer, out, 8), dot2(first, second, VECTORS / 8))) return wrong
  }
  first.fill(127)
  second.fill(255)
  exports.probeDot4(a, b, 1, out)
  const [sum] = new Int32Array(memory.buffer, out, 1)
  switch (sum) {
    case 4 * 127 * 255: return { relaxed: 'unsigned', findings: ['relaxed dot product: unsigned second operand, 32-bit sums (x86 with VNNI)'] }
    case 4 * 127 * -1: return { relaxed: 'signed', findings: ['relaxed dot product: signed second operand (ARM, newest x86)'] }
    case 2 * 32767: return { relaxed: 'saturating', findings: ['relaxed dot product: unsigned second operand, 16-bit sums saturate (x86 without VNNI)'] }
    default: return wrong
  }
}

function same(found: ArrayLike<number>, wanted: ArrayLike<number>): boolean {
  return Array.from(found).every((value, i) => value === wanted[i])
}

function dot4(a: Int8Array, b: Uint8Array): Int32Array {
  const sums = new Int32Array(4)
  for (let i = 0; i < a.length; i++) sums[(i >> 2) & 3] += (a[i] ?? 0) * (b[i] ?? 0)
  return sums
}

function dot2(a: Int8Array, b: Uint8Array, vectors: number): Int16Array {
  const sums = new Int16Array(8)
  for (let i = 0; i < vectors * 16; i++) sums[(i >> 1) & 7] += (a[i] ?? 0) * (b[i] ?? 0)
  return sums
}
