import type { FoldGroup } from '@lowbit/core'
import type { Graph } from '../graph/index.js'
import { operandName, type SiteRecord } from '../sites/index.js'
import { channelsFromEnd, type FoldContext, foldPlan, type FoldPlan, nodesOf } from './fold-target.js'

/** Sites that read one tensor. */
export interface GroupRecord {
  readonly id: string
  readonly members: readonly SiteRecord[]
}

/** Groups the sites whose input has channels that can be scaled: all but embeddings. */
export function groupSites(records: readonly SiteRecord[]): GroupRecord[] {
  const groups = new Map<string, SiteRecord[]>()
  for (const record of records) {
    if (record.site.kind === 'embedding' || record.site.kind === 'stored') continue
    const name = record.site.input.name
    const members = groups.get(name)
    // A matrix and a convolution that read one tensor count its channels along different axes.
    if (members === undefined) groups.set(name, [record])
    else if (members[0] !== undefined && channelsOf(members[0]) === channelsOf(record) && members[0].site.kind === record.site.kind) members.push(record)
  }
  return [...groups].map(([id, members]) => ({ id, members }))
}

/** Input channels of a site. */
export function channelsOf({ matrix }: SiteRecord): number {
  return (matrix.columns / matrix.columnsPerChannel) * matrix.groups
}

/** What can take a scale of a group's input as the graph now stands. */
export function planGroup(graph: Graph, records: readonly SiteRecord[], group: GroupRecord): FoldPlan | string {
  const [first] = group.members
  if (first === undefined) return 'no sites'
  const input = operandName(graph, first, 'data')
  return foldPlan(contextOf(graph, records, first), input, nodesOf(graph, group.members))
}

function contextOf(graph: Graph, records: readonly SiteRecord[], first: SiteRecord): FoldContext {
  return { graph, records, channels: channelsOf(first), fromEnd: channelsFromEnd(first) }
}

/** A group as the contract shows it. */
export function describeGroup(graph: Graph, records: readonly SiteRecord[], group: GroupRecord): FoldGroup {
  const plan = planGroup(graph, records, group)
  const [first] = group.members
  const tied = tiedReason(records, group)
  const rotate = tied ?? unrotatable(group)
  return {
    id: group.id,
    sites: group.members.map((m) => m.site.id),
    input: { name: group.id },
    producer: typeof plan === 'string' ? 'none' : plan.producer,
    channels: first === undefined ? 0 : channelsOf(first),
    ...(typeof plan === 'string' ? { reason: plan } : {}),
    ...(rotate === undefined ? {} : { refused: { ...(tied === undefined ? {} : { scale: tied }), rotate } }),
  }
}

/** Why the inputs of these sites are not rotated, whatever the rotation. */
export function unrotatable({ members }: GroupRecord): string | undefined {
  return members.every((m) => m.site.kind === 'linear') ? undefined : 'only the inputs of matrices are rotated, not those of convolutions'
}

/** Why a group takes neither scales nor rotations: they would reach a weight that is read with another input. */
export function tiedReason(records: readonly SiteRecord[], group: GroupRecord): string | undefined {
  const outside = tiedOutside(records, group)
  return outside === undefined ? undefined : `'${outside.site.id}' shares a weight with this group and reads another input`
}

/** The site outside the group whose weight would change too, if any. */
function tiedOutside(records: readonly SiteRecord[], group: GroupRecord): SiteRecord | undefined {
  const owners = new Set(group.members.map((m) => m.site.tiedTo ?? m.site.id))
  return records.find((r) => owners.has(r.site.tiedTo ?? r.site.id) && !group.members.includes(r))
}
