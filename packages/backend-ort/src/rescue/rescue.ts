import { type ActivationParams, type BatchSource, type QTensor, type Rescued, type RescueOptions, type RescueResult, throwIfAborted } from '@lowbit/core'
import { hasIntegerProduct, type StaticDecisions, unsuitableWeight } from '@lowbit/onnx'
import { measureFloat, type Measured, type Noise, type Switch, Switchboard, type SwitchboardJob, switchesOf } from './switchboard.js'

export interface RescueJob extends SwitchboardJob {
  /** Bytes of the float model. */
  readonly size: number
}

interface Culprit {
  readonly what: Switch
  readonly share: number
}

/** Decibels from which on nothing is rescued. */
const ENOUGH = 40
/** Below this a model is ruined, and what repairs it may cost what it costs. */
const RUINED = 20
/** A part of the noise this far from the share looked for, as a part of it, is told from few batches. */
const CLEAR = 0.15
/** All places in two halves: in a healthy model each would make about half of the noise, and say nothing. */
const FIRST_PIECES = 4
/** 16 bits measure as good as float if they leave no more than half a decibel more noise, or no more than is enough. */
const AS_GOOD = 10 ** 0.05

/**
 * Finds the few activations and weights whose rounding ruins a model, with data but without labels: the float model's own outputs
 * are the measure. Noise of different places adds up, nearly, so halves of the graph are put back in float and only halves that
 * matter are looked into further: about `2 log2(places)` measurements for each culprit, and a handful where there is none. What was
 * found is then measured in 16 bits, and stays there where that is as good as float.
 */
export async function findRuinous(job: RescueJob, data: BatchSource, options: RescueOptions = {}): Promise<RescueResult> {
  const measured = await measureFloat(job, data, options.batches ?? 12)
  const { before, after, culprits } = await findCulprits(job, measured, options)
  if (culprits.length === 0) return { before: decibels(before), after: decibels(before), rescued: [] }
  const { noise, wide } = await tryWide(job, measured, culprits, after, options)
  const rescued = culprits.map(({ what, share }): Rescued => {
    const to = wide.has(what) ? '16-bit' : 'float'
    return { ...what, to, share, bytes: what.kind === 'weight' ? extraBytes(job.decisions, what, to) : 0 }
  })
  return { before: decibels(before), after: decibels(noise), rescued }
}

async function findCulprits(job: RescueJob, measured: Measured, options: RescueOptions): Promise<{ readonly before: number; readonly after: number; readonly culprits: readonly Culprit[] }> {
  const { share = 1 / 3, enough = ENOUGH, most = 0.1, mostBytes = 0.05 } = options
  const { decisions } = job
  const weights = quantizedOwners(decisions).filter((site) => options.weights?.includes(site) ?? true)
  const offered = switchesOf(job, weights).filter(({ kind, points }) => kind === 'weight' || points.every((p) => options.wideActivations?.has(p) ?? true))
  const board = new Switchboard(job, measured, offered)
  const limit = Math.max(2, Math.floor(board.switches.length * most))
  const inFloat = new Set<Switch>()
  const culprits: Culprit[] = []
  const before = await board.noise(inFloat)
  let noise = before
  let bytes = 0
  while (culprits.length < limit && decibels(noise.total) < enough) {
    const room = decibels(noise.total) < RUINED ? Infinity : mostBytes * job.size - bytes
    const open = board.switches.filter((one) => !inFloat.has(one) && (one.kind === 'activations' || extraBytes(decisions, one, '16-bit') <= room))
    const worst = await worstOf(board, open, inFloat, noise, share, options)
    if (worst === undefined) break
    inFloat.add(worst.what)
    culprits.push(worst)
    if (worst.what.kind === 'weight') bytes += extraBytes(decisions, worst.what, '16-bit')
    noise = await board.noise(inFloat)
  }
  return { before: before.total, after: noise.total, culprits }
}

/** What makes the most noise, if that is at least a share of it all. */
async function worstOf(board: Switchboard, open: readonly Switch[], inFloat: ReadonlySet<Switch>, noise: Noise, share: number, options: RescueOptions): Promise<Culprit | undefined> {
  let best: Culprit | undefined
  const search = async (switches: readonly Switch[], pieces: number): Promise<void> => {
    const size = Math.max(1, Math.ceil(switches.length / pieces))
    for (let from = 0; from < switches.length; from += size) {
      throwIfAborted(options.signal, 'rescue')
      const part = switches.slice(from, from + size)
      const least = Math.max(share, best?.share ?? 0)
      const isClear = (made: number): boolean => made < least * (1 - CLEAR) || (part.length > 1 && made > least * (1 + CLEAR))
      const made = await board.part(noise, new Set([...inFloat, ...part]), isClear)
      options.onProgress?.({ phase: 'rescue', done: inFloat.size, total: board.switches.length, item: part[0]?.points[0] ?? '' })
      if (made < least) continue
      const [only, ...others] = part
      if (only !== undefined && others.length === 0) best = { what: only, share: made }
      else await search(part, 2)
    }
  }
  await search(open, FIRST_PIECES)
  return best
}

/** Measures the culprits in 16 bits: all of them, and if that is not as good as float, without each that does better there. */
async function tryWide(job: RescueJob, measured: Measured, culprits: readonly Culprit[], float: number, options: RescueOptions): Promise<{ readonly noise: number; readonly wide: ReadonlySet<Switch> }> {
  const activations = new Map(job.decisions.activations)
  const weights = new Map(job.decisions.weights)
  const wide = new Set<Switch>()
  for (const { what } of culprits) {
    const found = await wideForm(what, options)
    if (found === undefined) {
      takeBack(what, activations, weights, job.decisions)
      continue
    }
    for (const [point, params] of found.activations) activations.set(point, params)
    // Measured with all its 16 bits: in the file it is a product of floats.
    for (const [site, q] of found.weights) for (const id of tiedTo(site, job.decisions)) weights.set(id, q)
    wide.add(what)
  }
  if (wide.size === 0) return { noise: float, wide }
  const bearable = Math.max(float * AS_GOOD, 10 ** (-(options.enough ?? ENOUGH) / 10))
  const board = new Switchboard({ ...job, decisions: { ...job.decisions, activations, weights } }, measured, [...wide])
  const inFloat = new Set<Switch>()
  let { total: noise } = await board.noise(inFloat)
  for (const what of wide) {
    if (noise <= bearable) break
    throwIfAborted(options.signal, 'rescue')
    const { total: without } = await board.noise(new Set([...inFloat, what]))
    if (noise <= without * AS_GOOD) continue
    inFloat.add(what)
    noise = without
  }
  return { noise, wide: new Set([...wide].filter((what) => !inFloat.has(what))) }
}

async function wideForm({ kind, points }: Switch, options: RescueOptions): Promise<{ readonly activations: ReadonlyMap<string, ActivationParams>; readonly weights: ReadonlyMap<string, QTensor> } | undefined> {
  if (kind === 'weight') {
    const [site = ''] = points
    const q = await options.wideWeight?.(site)
    return q === undefined ? undefined : { activations: new Map(), weights: new Map([[site, q]]) }
  }
  const params = points.flatMap((point) => {
    const found = options.wideActivations?.get(point)
    return found === undefined ? [] : [[point, found] as const]
  })
  return params.length < points.length ? undefined : { activations: new Map(params), weights: new Map() }
}

function takeBack({ kind, points }: Switch, activations: Map<string, ActivationParams>, weights: Map<string, QTensor>, decisions: StaticDecisions): void {
  for (const point of points) {
    if (kind === 'activations') activations.delete(point)
    else for (const id of tiedTo(point, decisions)) weights.delete(id)
  }
}

/** Sites whose weights integer kernels multiply, each shared weight once. */
function quantizedOwners({ sites, weights }: StaticDecisions): readonly string[] {
  const owners = new Set<string>()
  for (const record of sites) {
    const q = weights.get(record.site.id)
    if (q !== undefined && hasIntegerProduct(record.op) && unsuitableWeight(q) === undefined) owners.add(record.site.tiedTo ?? record.site.id)
  }
  return [...owners]
}

function tiedTo(owner: string, { sites }: StaticDecisions): readonly string[] {
  return sites.filter(({ site }) => (site.tiedTo ?? site.id) === owner).map(({ site }) => site.id)
}

function extraBytes({ sites }: StaticDecisions, { points: [owner = ''] }: Switch, to: Rescued['to']): number {
  const matrix = sites.find(({ site }) => site.id === owner)?.matrix
  return matrix === undefined ? 0 : matrix.rows * matrix.columns * (to === '16-bit' ? 1 : 3)
}

function decibels(noise: number): number {
  return noise > 0 ? -10 * Math.log10(noise) : 300
}
