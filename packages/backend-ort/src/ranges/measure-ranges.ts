import { type BatchSource, LowbitError, type OnProgress, throwIfAborted } from '@lowbit/core'
import { hostToFloat32, node as makeNode, writeOnnx } from '@lowbit/formats'
import { elementTypes, embedExternal, finishModel, Graph, type ModelData, type ModelInput, openSource, type TensorRange } from '@lowbit/onnx'
import { findOrt, type OrtModule, type SessionOptions } from '../ort.js'
import { createSession, PATIENT } from '../session.js'

export interface MeasureRangesOptions {
  readonly ort?: OrtModule
  readonly sessionOptions?: SessionOptions
  readonly externalData?: ModelData
  readonly signal?: AbortSignal
  readonly onProgress?: OnProgress
}

/**
 * The smallest and largest value of every float32 tensor of a model's main graph on some data. The extremes are computed inside of the
 * model, so that no tensor comes out of the runtime. A tensor that held a NaN reaches from -Infinity to Infinity.
 * @throws LOWBIT_FILE, LOWBIT_FORMAT, LOWBIT_LIMIT, LOWBIT_DATA, LOWBIT_RUNTIME, LOWBIT_ABORTED
 */
export async function measureRanges(model: ModelInput, data: BatchSource, { ort, sessionOptions = {}, externalData, signal, onProgress }: MeasureRangesOptions = {}): Promise<ReadonlyMap<string, TensorRange>> {
  const source = await openSource(model, externalData)
  try {
    if (source.file !== undefined) await embedExternal(source.file, 'all')
    const graph = new Graph(source.model)
    const probes = addProbes(graph)
    const session = await createSession(await findOrt(ort), writeOnnx(finishModel(graph)), { ...PATIENT, ...sessionOptions })
    try {
      const ranges = new Map<string, TensorRange>()
      let done = 0
      for await (const batch of data) {
        throwIfAborted(signal, 'measuring ranges')
        const found = await session.run(batch, probes.flatMap(({ min, max, sum }) => [min, max, sum]))
        for (const { name, min, max, sum } of probes) {
          const [low, high, total] = [found[min], found[max], found[sum]].map((value) => (value === undefined ? undefined : hostToFloat32(value)[0]))
          const before = ranges.get(name) ?? { min: Infinity, max: -Infinity }
          if (low === undefined || high === undefined) ranges.set(name, before)
          // What holds a NaN may hold anything: the runtime's extremes pass over it, and may lose what stands before it.
          else if (Number.isNaN(total) || Number.isNaN(low) || Number.isNaN(high)) ranges.set(name, { min: -Infinity, max: Infinity })
          else ranges.set(name, { min: Math.min(before.min, low), max: Math.max(before.max, high) })
        }
        done++
        onProgress?.({ phase: 'calibrate', done, total: Array.isArray(data) ? data.length : 0 })
      }
      if (done === 0) throw new LowbitError('LOWBIT_DATA', { thing: 'data to measure ranges on', found: 'no batches', expected: 'at least one', fix: 'pass typical inputs; a generator can be read once only' })
      return ranges
    } finally {
      await session.release()
    }
  } finally {
    await source.close()
  }
}

interface Probe {
  readonly name: string
  readonly min: string
  readonly max: string
  /** A sum shows a NaN, which extremes may pass over. */
  readonly sum: string
}

function addProbes(graph: Graph): readonly Probe[] {
  const types = elementTypes(graph)
  const names = [...graph.proto.input.map((i) => i.name), ...graph.nodes().flatMap((node) => node.output)].filter((name) => types.get(name) === 'float32' && graph.constant(name) === undefined)
  return [...new Set(names)].map((name) => {
    const [min, max, sum] = (['ReduceMin', 'ReduceMax', 'ReduceSum'] as const).map((op) => {
      const output = graph.freshName(`lowbit_${op}_${name}`)
      graph.addNode(makeNode(op, [name], [output], { keepdims: 0 }))
      graph.addOutput(output)
      return output
    })
    return { name, min: min ?? name, max: max ?? name, sum: sum ?? name }
  })
}
