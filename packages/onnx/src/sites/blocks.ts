import type { Graph } from '../graph/index.js'

/** `layers.3`, `h/7`, `block_2`: how exporters name the repeated part of a model. */
const REPEATED = /(?:^|[._/])((?:[a-z]*_)?(?:layers?|blocks?|h|stages?|resblocks?))[._/](\d+)(?=[._/]|$)/i

export interface BlockSite {
  readonly id: string
  /** The tensor its operator makes. */
  readonly anchor: string
  /** Name of its stored weight. */
  readonly weight: string
}

/**
 * Block of each site, in the order they run: sites whose names carry the same layer number share one; without such names,
 * sites at the same depth do. A site's block is never below those that feed it.
 * @param sites - in the order they run; the graph sorted
 */
export function numberBlocks(graph: Graph, sites: readonly BlockSite[]): number[] {
  const siteOf = new Map(sites.map((site, i) => [site.anchor, i]))
  const blocks: number[] = sites.map(() => 0)
  const labels = new Map<string, number>()
  /** Highest block on any path to a tensor. */
  const level = new Map<string, number>()
  for (const node of graph.nodes()) {
    let block = -1
    for (const name of [...node.input, ...graph.captures(node)]) block = Math.max(block, level.get(name) ?? -1)
    const index = siteOf.get(node.output[0] ?? '')
    if (index !== undefined) {
      const site = sites[index]
      const name = REPEATED.test(site.id) ? site.id : site.weight
      const match = REPEATED.exec(name)
      // What stands before the number is part of the label: encoder.layer.0 is not decoder.layer.0.
      const label = match === null ? undefined : name.slice(0, match.index + match[0].length)
      const known = label === undefined ? undefined : labels.get(label)
      block = known === undefined ? block + 1 : Math.max(block, known)
      if (label !== undefined) labels.set(label, block)
      blocks[index] = block
    }
    if (block >= 0) for (const name of node.output) level.set(name, block)
  }
  return blocks
}
