/**
 * The words of a step, a phase, a program and a cache, in the order of `assembly/step.ts`, `assembly/program.ts` and
 * `assembly/cache.ts`, which count in bytes.
 */
export const STEP_WORDS = ['op', 'a', 'aStride', 'b', 'bStride', 'to', 'toStride', 'width', 'n1', 'n2', 'f1', 'f2', 'p1', 'p2', 'step'] as const
export const STEP_BYTES = 64

export const OPS = { embed: 1, norm: 2, quantize: 3, rope: 4, append: 5, gate: 6, add: 7, scale: 8, softcap: 9, copy: 10, select: 11, linear: 12, attention: 13 } as const

/** Words of a step that are not 0. `f1` and `f2` are floats, unless the step says otherwise. */
export type StepWords = { readonly [word in (typeof STEP_WORDS)[number]]?: number } & { readonly op: number; readonly whole2?: boolean }

export const PHASES = { rows: 0, products: 1, attention: 2 } as const
export const PHASE_BYTES = 16

export const PROGRAM_WORDS = ['rows', 'wanted', 'start', 'tokens', 'phases', 'phaseTable', 'threads', 'scratch', 'scratchStride', 'failed', 'failedRow'] as const

export const CACHE_WORDS = ['type', 'heads', 'size', 'padded', 'capacity', 'keys', 'values', 'keyScales', 'valueScales'] as const
export const CACHE_TYPES = { float32: 0, float16: 1, int8: 2 } as const

export function writeStep(words: Int32Array, floats: Float32Array, at: number, step: StepWords): void {
  STEP_WORDS.forEach((word, i) => {
    const value = step[word] ?? 0
    if (word === 'f1' || (word === 'f2' && step.whole2 !== true)) floats[at / 4 + i] = value
    else words[at / 4 + i] = value
  })
}
