import { LARGEST_HALF } from '@lowbit/core'
import { hostToFloat32, hostToTensor, isExternal, onnxTypeOf } from '@lowbit/formats'
import type { Graph } from '../graph/index.js'
import { shieldedTensors } from '../static/masks.js'
import type { LoadTensor } from '../sites/weights.js'

/** Two masks added to each other still are a float16 number, and a row that is masked whole does not become NaN in its Softmax. */
const MASKED = -LARGEST_HALF / 2

/** Larger constants are not masks. */
const MAX_ELEMENTS = 1 << 22

/**
 * Raises the -3.4e38 of attention masks to what float16 can hold: as -Infinity it makes NaN of rows that are masked whole. -Infinity
 * itself stays.
 * @returns names of the constants that changed
 */
export async function clampMasks(graph: Graph, load: LoadTensor): Promise<string[]> {
  const changed: string[] = []
  const shielded = shieldedTensors(graph)
  const names = new Set(graph.nodes().flatMap((node) => (node.output.some((name) => shielded.has(name)) ? node.input : [])))
  for (const name of names) {
    const constant = graph.constant(name)
    if (constant === undefined || isExternal(constant) || onnxTypeOf(constant.dataType) !== 'float32' || constant.dims.reduce((n, d) => n * Number(d), 1) > MAX_ELEMENTS) continue
    const host = await load(constant)
    const values = hostToFloat32(host)
    if (!values.some((value) => value < -LARGEST_HALF && value !== -Infinity)) continue
    const data = values.map((value) => (value < MASKED && value !== -Infinity ? MASKED : value))
    graph.setConstant(name, hostToTensor(name, { dtype: 'float32', shape: host.shape, data }))
    changed.push(name)
  }
  return changed
}
