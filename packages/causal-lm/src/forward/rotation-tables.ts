import type { ModelConfig, Rotary } from '../config/model-config.js'

/** Cosines and sines of all positions, `[context, pairs]` each, by the names that the program has for them. */
export function rotationTables(config: ModelConfig, context: number): Readonly<Record<string, Float32Array>> {
  const tables: Record<string, Float32Array> = {}
  const add = (name: string, rotary: Rotary): void => {
    const pairs = rotary.frequencies.length
    const cos = new Float32Array(context * pairs)
    const sin = new Float32Array(context * pairs)
    for (let position = 0; position < context; position++) {
      for (let i = 0; i < pairs; i++) {
        const angle = Math.fround(position * rotary.frequencies[i])
        cos[position * pairs + i] = Math.cos(angle)
        sin[position * pairs + i] = Math.sin(angle)
      }
    }
    tables[`cos.${name}`] = cos
    tables[`sin.${name}`] = sin
  }
  add('full', config.rotary)
  if (config.localRotary !== undefined && config.windows.some((window) => window !== undefined)) add('local', config.localRotary)
  return tables
}
