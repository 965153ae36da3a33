import { LowbitError } from '@lowbit/core'
import type { GraphProto, NodeProto } from './proto.js'

/** Turns that no loop of a working model makes. */
const MOST_TURNS = 2n ** 31n

/**
 * Finds loops that no runtime comes out of: no count, or one beyond reason, and a condition that the body hands on as it was.
 * @throws LOWBIT_FORMAT naming the loop
 */
export function checkLoops(graph: Pick<GraphProto, 'node' | 'initializer'>, thing: string): void {
  for (const node of graph.node) {
    if (node.opType !== 'Loop' || (node.domain !== '' && node.domain !== 'ai.onnx')) continue
    const body = node.attribute.find((a) => a.name === 'body')?.g
    if (body === undefined || isCounted(graph, node.input[0] ?? '') || mayBegin(graph, node.input[1] ?? '') === false || !staysTrue(body)) continue
    throw new LowbitError('LOWBIT_FORMAT', { thing: `${thing}, node '${node.name || (node.output[0] ?? '')}' (Loop)`, found: 'a loop that never ends: no count, and a condition that does not change', expected: 'a count of turns, or a condition that its body computes' })
  }
}

function isCounted(graph: Pick<GraphProto, 'node' | 'initializer'>, name: string): boolean {
  if (name === '') return false
  const stored = constant(graph, name)
  // What is computed may be anything, and is taken for sound.
  if (stored === undefined || stored.rawData.length < 8) return true
  return new DataView(stored.rawData.buffer, stored.rawData.byteOffset, 8).getBigInt64(0, true) < MOST_TURNS
}

/** Undefined where the model computes it. */
function mayBegin(graph: Pick<GraphProto, 'node' | 'initializer'>, name: string): boolean | undefined {
  if (name === '') return true
  const stored = constant(graph, name)
  return stored === undefined ? undefined : stored.rawData.length === 0 || stored.rawData[0] !== 0
}

function constant({ node, initializer }: Pick<GraphProto, 'node' | 'initializer'>, name: string): GraphProto['initializer'][number] | undefined {
  return initializer.find((t) => t.name === name) ?? node.find((n) => n.opType === 'Constant' && n.output[0] === name)?.attribute.find((a) => a.name === 'value')?.t
}

/** True for a body whose condition is the one it was given, or a stored one that is not false. */
function staysTrue(body: GraphProto): boolean {
  const given = body.input[1]?.name
  let name = body.output[0]?.name ?? ''
  const makers = new Map(body.node.flatMap((n): [string, NodeProto][] => n.output.map((output) => [output, n])))
  for (let maker = makers.get(name), steps = 0; maker !== undefined && maker.opType === 'Identity' && steps <= body.node.length; maker = makers.get(name), steps++) name = maker.input[0] ?? ''
  if (name === given) return true
  const stored = constant(body, name)
  return stored !== undefined && stored.rawData.length > 0 && stored.rawData[0] !== 0
}
