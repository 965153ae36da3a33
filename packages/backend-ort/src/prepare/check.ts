import { type Batch, type HostTensor, LowbitError, type TensorRef } from '@lowbit/core'
import { writeOnnx } from '@lowbit/formats'
import type { Graph } from '@lowbit/onnx'
import type { OrtModule, SessionOptions } from '../ort.js'
import { createSession, PATIENT } from '../session.js'

/** Largest difference, relative to the largest output, that reordered float arithmetic may make. */
const TOLERANCE = 1e-3

/** A single run is not worth what optimizing takes, in time and for a second copy of the weights. */
export const ONE_RUN: SessionOptions = { ...PATIENT, graphOptimizationLevel: 'disabled' }

/** Outputs of a model on one batch. */
export async function runGraph(ort: OrtModule, graph: Graph, batch: Batch): Promise<Batch> {
  const session = await createSession(ort, writeOnnx(graph.clone().toModel()), ONE_RUN)
  try {
    return await session.run(batch)
  } finally {
    await session.release()
  }
}

/**
 * Compares what two models gave.
 * @throws LOWBIT_INTERNAL if they differ by more than rounding
 */
export function checkSame(step: string, want: Batch, got: Batch): void {
  for (const [name, expected] of Object.entries(want)) {
    const found = got[name]
    const difference = found === undefined ? Infinity : relativeDifference(expected, found)
    if (!(difference <= TOLERANCE)) {
      throw new LowbitError('LOWBIT_INTERNAL', { thing: `preparation step '${step}'`, found: `output '${name}' changed by ${difference.toExponential(2)} of its largest value`, expected: `at most ${TOLERANCE}`, fix: 'please report this model; prepare: false leaves it as it is' })
    }
  }
}

function relativeDifference(want: HostTensor, got: HostTensor): number {
  if (want.data.length !== got.data.length || want.dtype !== got.dtype) return Infinity
  let largest = 0
  let difference = 0
  for (let i = 0; i < want.data.length; i++) {
    const a = Number(want.data[i])
    const b = Number(got.data[i])
    if (a === b || (Number.isNaN(a) && Number.isNaN(b))) continue
    largest = Math.max(largest, Math.abs(a))
    difference = Math.max(difference, Math.abs(a - b))
  }
  return difference === 0 ? 0 : difference / Math.max(largest, 1e-6)
}

/** Elements of an input beyond which open axes get one element: a step is checked in a moment, or a model of large images never opens. */
const LARGE = 1 << 20

/** A made-up batch for models whose user gave none: small whole numbers for ids, a fixed noise for the rest. */
export function makeBatch(inputs: readonly TensorRef[], symbolic: number): Batch {
  const batch: Record<string, HostTensor> = {}
  for (const { name, dtype = 'float32', shape = [] } of inputs) {
    const filled = (open: number): number[] => shape.map((size, axis) => (typeof size === 'number' && size > 0 ? size : axis === 0 ? 1 : open))
    const wanted = filled(symbolic)
    const sizes = wanted.reduce((a, b) => a * b, 1) > LARGE ? filled(1) : wanted
    const count = sizes.reduce((a, b) => a * b, 1)
    const noise = (i: number): number => ((i * 7919 + 104729) % 2003) / 1001.5 - 1
    if (dtype === 'float32') batch[name] = { dtype, shape: sizes, data: Float32Array.from({ length: count }, (_, i) => noise(i)) }
    else if (dtype === 'int64') batch[name] = { dtype, shape: sizes, data: BigInt64Array.from({ length: count }, (_, i) => BigInt(i % 7)) }
    else if (dtype === 'int32') batch[name] = { dtype, shape: sizes, data: Int32Array.from({ length: count }, (_, i) => i % 7) }
    else if (dtype === 'bool') batch[name] = { dtype, shape: sizes, data: new Uint8Array(count).fill(1) }
  }
  return batch
}
