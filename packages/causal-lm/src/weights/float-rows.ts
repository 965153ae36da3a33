import { bytesPerElement, LowbitError, type HostTensor } from '@lowbit/core'
import type { TensorSource } from '@lowbit/formats/gguf'

/** Types of floats that kernels hold as a file has them. */
export type FloatType = 'float32' | 'float16' | 'bfloat16'

/** The types of floats as GGUF and safetensors name them. */
export const FLOAT_TYPES: Readonly<Partial<Record<string, FloatType>>> = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' }

/** The rows of a matrix of floats, some at a time. @throws LOWBIT_SHAPE, and what the file throws */
export async function* floatRows(file: TensorSource, name: string, rows: number, dtype: FloatType): AsyncGenerator<HostTensor<'float32'> | HostTensor<'float16'> | HostTensor<'bfloat16'>> {
  const shape = file.tensors.get(name)?.shape ?? []
  const [all, columns] = shape
  if (shape.length !== 2) throw new LowbitError('LOWBIT_SHAPE', { thing: `tensor '${name}'`, found: `shape [${shape.join(', ')}]`, expected: 'a matrix' })
  for (let from = 0; from < all; from += rows) {
    const count = Math.min(rows, all - from)
    const bytes = await file.bytes(name, { from, count })
    const each = bytesPerElement(dtype)
    // numbers of several bytes begin at a multiple of their size
    const aligned = bytes.byteOffset % each === 0 ? bytes : bytes.slice()
    if (dtype === 'float32') yield { dtype, shape: [count, columns], data: new Float32Array(aligned.buffer, aligned.byteOffset, count * columns) }
    else yield { dtype, shape: [count, columns], data: new Uint16Array(aligned.buffer, aligned.byteOffset, count * columns) }
  }
}
