import type { PackedWeights, SyncKernelProvider } from '@lowbit/core'
import { compileFloat } from '../forward/float-program.js'
import { isQuantized, matrixFloats, type ModelMatrix } from '../weights/matrix.js'
import type { PrepareSegment } from './walk.js'

/** What segments run on: kernels, or plain TypeScript. */
export interface SegmentEngine {
  readonly kernels: SyncKernelProvider | undefined
  dispose(): void
}

/** Where a segment's weights come from. */
export interface SegmentWeights {
  matrix(name: string): Promise<ModelMatrix>
  vector(name: string): Float32Array | undefined
}

/** Reads the weights of a segment, one matrix at a time, and frees them with it. */
export function prepareWith({ kernels }: SegmentEngine, weights: SegmentWeights): PrepareSegment {
  return async (program, tables) => {
    const vectors: Record<string, Float32Array> = { ...tables }
    for (const name of Object.keys(program.vectors)) vectors[name] ??= weights.vector(name) ?? new Float32Array(program.vectors[name])
    const compiler = kernels?.programs
    if (kernels === undefined || compiler === undefined) {
      const matrices: Record<string, ModelMatrix> = {}
      for (const name of Object.keys(program.matrices)) matrices[name] = await weights.matrix(name)
      return compileFloat(program, { matrices, vectors })
    }
    const packed: Record<string, PackedWeights> = {}
    const free = (): void => Object.values(packed).forEach((p) => p.dispose())
    try {
      for (const name of Object.keys(program.matrices)) packed[name] = kernels.prepack(asKernels(await weights.matrix(name)))
      const compiled = compiler.compile(program, { matrices: packed, vectors })
      return {
        run: (input) => compiled.run(input),
        read: (buffer) => compiled.read(buffer),
        [Symbol.dispose]() {
          compiled.dispose()
          free()
        },
      }
    } catch (error) {
      free()
      throw error
    }
  }
}

/** Floats multiply fastest where many rows are run; codes stay what they are where the model rounds its inputs for them. */
function asKernels(matrix: ModelMatrix): ModelMatrix {
  return isQuantized(matrix) && 'scheme' in matrix ? matrix : matrixFloats(matrix)
}
