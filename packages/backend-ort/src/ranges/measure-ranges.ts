import { type BatchSource, type OnProgress, throwIfAborted } from '@lowbit/core'
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
 * model, so that no tensor comes out of the runtime.
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
        const found = await session.run(batch, probes.flatMap(({ min, max }) => [min, max]))
        for (const { name, min, max } of probes) {
          const [low, high] = [found[min], found[max]].map((value) => (value === undefined ? undefined : hostToFloat32(value)[0]))
          const before = ranges.get(name) ?? { min: Infinity, max: -Infinity }
          // A NaN is no range: it stays out of both.
          ranges.set(name, { min: low !== undefined && low < before.min ? low : before.min, max: high !== undefined && high > before.max ? high : before.max })
        }
        onProgress?.({ phase: 'calibrate', done: ++done, total: Array.isArray(data) ? data.length : 0 })
      }
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
}

function addProbes(graph: Graph): readonly Probe[] {
  const types = elementTypes(graph)
  const names = [...graph.proto.input.map((i) => i.name), ...graph.nodes().flatMap((node) => node.output)].filter((name) => types.get(name) === 'float32' && graph.constant(name) === undefined)
  return [...new Set(names)].map((name) => {
    const [min, max] = (['ReduceMin', 'ReduceMax'] as const).map((op) => {
      const output = graph.freshName(`lowbit_${op}_${name}`)
      graph.addNode(makeNode(op, [name], [output], { keepdims: 0 }))
      graph.addOutput(output)
      return output
    })
    return { name, min: min ?? name, max: max ?? name }
  })
}
