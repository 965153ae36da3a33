import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { CACHE_TYPES, CACHE_WORDS, OPS, PHASES, PHASE_BYTES, PROGRAM_WORDS, STEP_BYTES, STEP_WORDS } from '../src/program/steps.js'

const camel = (name: string): string => name.toLowerCase().replace(/_(.)/g, (_, c: string) => c.toUpperCase())

/** Constants of a file of assembly/, by their names in camel case. */
function constants(file: string, type: string): Map<string, number> {
  const source = readFileSync(new URL(`../assembly/${file}`, import.meta.url), 'utf8')
  return new Map([...source.matchAll(new RegExp(`^(?:export )?const (\\w+): ${type} = (\\d+)$`, 'gm'))].map(([, name = '', value]) => [camel(name), Number(value)]))
}

describe('words of programs', () => {
  it('stand where assembly/ reads them', () => {
    const steps = constants('step.ts', 'usize')
    expect([...STEP_WORDS].map((word) => steps.get(word))).toEqual([...STEP_WORDS].map((_, i) => 4 * i))
    expect(steps.get('bytes')).toBe(STEP_BYTES)
    const ops = constants('step.ts', 'i32')
    for (const [name, value] of Object.entries(OPS)) expect(ops.get(name), name).toBe(value)
    const cache = constants('cache.ts', 'usize')
    expect([...CACHE_WORDS].map((word) => cache.get(word))).toEqual([...CACHE_WORDS].map((_, i) => 4 * i))
    const types = constants('cache.ts', 'i32')
    expect([types.get('f32'), types.get('f16'), types.get('i8')]).toEqual([CACHE_TYPES.float32, CACHE_TYPES.float16, CACHE_TYPES.int8])
    const program = constants('program.ts', 'usize')
    expect([...PROGRAM_WORDS].map((word) => program.get(word))).toEqual([...PROGRAM_WORDS].map((_, i) => 4 * i))
    const phases = constants('program.ts', 'i32')
    expect([phases.get('byRow'), phases.get('products'), phases.get('attention')]).toEqual([PHASES.rows, PHASES.products, PHASES.attention])
    expect(PHASE_BYTES).toBe(16)
  })
})
