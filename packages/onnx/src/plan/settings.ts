import { resolveOptions, type Declarations, type Filled, type Json } from '@lowbit/core'

/** What `emit` can be told beside the format. */
export interface OnnxSettings {
  readonly accuracyLevel?: 0 | 1 | 2 | 3 | 4
  readonly expand?: 'run' | 'load'
  readonly weightStorage?: 'uint8' | 'int8'
  readonly scales?: 'float32' | 'float16'
  readonly bias?: 'int32' | 'float'
}

/** The settings of every format, with the formats that read them: the host shows them, `emit` is held to them. */
export const ONNX_SETTINGS = {
  accuracyLevel: {
    type: 'choice',
    values: [0, 1, 2, 3, 4],
    default: 0,
    when: { format: ['matmul-nbits'] },
    about: 'what MatMulNBits may compute in: 0 and 1 float32, 2 float16, 3 bfloat16, 4 int8 activations',
  },
  expand: {
    type: 'choice',
    values: ['run', 'load'],
    default: 'run',
    when: { format: ['matmul-nbits', 'dequantize'] },
    about: 'when weights stored as codes become numbers: at every run, or once, when the model is loaded',
  },
  weightStorage: {
    type: 'choice',
    values: ['uint8', 'int8'],
    default: 'uint8',
    when: { format: ['dynamic', 'qdq', 'qoperator'] },
    about: 'uint8 moves signed codes up by 128, exact on every CPU; int8 leaves them as they are',
  },
  scales: {
    type: 'choice',
    values: ['float32', 'float16'],
    default: 'float32',
    when: { format: ['matmul-nbits', 'dequantize'] },
    about: 'type of stored scales of float32 models; float16 is off by at most 2^-11 of each',
  },
  bias: {
    type: 'choice',
    values: ['int32', 'float'],
    default: 'int32',
    when: { format: ['qdq'] },
    about: 'biases of integer products: int32 codes, which ONNX Runtime wants, or floats, which TensorRT wants',
  },
} as const satisfies Declarations & { readonly [K in keyof OnnxSettings]: unknown }

export type FilledSettings = Filled<OnnxSettings, typeof ONNX_SETTINGS>

/**
 * The settings of a format with their defaults.
 * @throws LOWBIT_ARGUMENT for a setting that does not exist, has another type, or that the format does not read
 */
export function readSettings(format: string, given: Readonly<Record<string, Json>>): FilledSettings {
  const place = (path: string): string => (path === '' ? 'settings' : `setting ${path}`)
  return resolveOptions<OnnxSettings, typeof ONNX_SETTINGS>(ONNX_SETTINGS, given, 'settings', { form: 'json', place, surroundings: (name) => (name === 'format' ? format : undefined) })
}

/**
 * When codes become floats again. `run`: a DequantizeLinear, which ONNX Runtime keeps and runs each time (it looks for integer
 * kernels behind it). `load`: operators that its optimizer computes once, when the model is loaded; then it is as fast, and as
 * large in memory, as the float model.
 */
export type Expand = FilledSettings['expand']

/** Integer type a weight is stored as. `uint8` is int8 moved up by 128: the same values, another kernel. */
export type WeightStorage = FilledSettings['weightStorage']

/** The settings that a format reads, for its plan. */
export function settingsOf(format: string, settings: FilledSettings): Readonly<Record<string, Json>> {
  return Object.fromEntries(Object.entries(settings).filter(([name]) => Object.entries(ONNX_SETTINGS).some(([known, { when }]) => known === name && when.format.some((f) => f === format))))
}
