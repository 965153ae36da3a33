import { resolveOptions, type Declarations, type Filled, type Json } from '@lowbit/core'

/** What `emit` can be told beside the format. */
export interface LayersSettings {
  readonly scales?: 'float32' | 'float16'
  readonly accuracyLevel?: 0 | 1 | 2 | 3 | 4
}

/** The settings of every format of this backend, with the formats that read them. */
export const LAYERS_SETTINGS = {
  scales: { type: 'choice', values: ['float32', 'float16'], default: 'float32', when: { format: ['dequantize', 'matmul-nbits'] }, about: 'type of stored scales; float16 is off by at most 2^-11 of each' },
  accuracyLevel: { type: 'choice', values: [0, 1, 2, 3, 4], default: 0, when: { format: ['matmul-nbits'] }, about: 'what MatMulNBits may compute in: 0 and 1 float32, 2 float16, 3 bfloat16, 4 int8 activations' },
} as const satisfies Declarations & { readonly [K in keyof LayersSettings]: unknown }

export type FilledSettings = Filled<LayersSettings, typeof LAYERS_SETTINGS>

/**
 * The settings of a format with their defaults.
 * @throws LOWBIT_ARGUMENT for a setting that does not exist, has another type, or that the format does not read
 */
export function readSettings(format: string, given: Readonly<Record<string, Json>> = {}): FilledSettings {
  const place = (path: string): string => (path === '' ? 'settings' : `setting ${path}`)
  return resolveOptions<LayersSettings, typeof LAYERS_SETTINGS>(LAYERS_SETTINGS, given, 'settings', { form: 'json', place, surroundings: (name) => (name === 'format' ? format : undefined) })
}
