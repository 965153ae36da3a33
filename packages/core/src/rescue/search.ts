import type { DecisionSet } from '../contract/v2/capabilities.js'
import type { ActivationParams, ActivationPoint, BatchSource } from '../contract/v2/host.js'
import { throwIfAborted } from '../errors.js'
import type { OnProgress } from '../progress.js'
import type { QTensor } from '../qtensor.js'
import { bitsOf } from '../scheme.js'
import type { Rescued, RescueResult } from './result.js'
import { type Decided, measureFloat, type Measured, type Noise, Switchboard } from './switchboard.js'
import { inFloat, type Switch, switchesOf } from './switches.js'

/** What a search may change, and how far it goes. */
export interface RescueSearch extends Decided {
  readonly points: readonly ActivationPoint[]
  /** 16-bit parameters of activations, tried before float. Those without any are not to be rescued. */
  readonly wideActivations: ReadonlyMap<string, ActivationParams>
  /** Sites whose weights may be rescued. */
  readonly weights: readonly string[]
  /** 16-bit codes of a site's weight, tried before float; undefined where it cannot have them. */
  readonly wideWeight: (site: string) => Promise<QTensor | undefined>
  /** A group of points is rescued if it alone makes at least this share of the output noise. Default 1/3. */
  readonly share?: number
  /** Output signal over noise, in decibels, from which on nothing is rescued. Default 40. */
  readonly enough?: number
  /** Most groups to rescue, as a share of all. At least two may be. Default 0.1. */
  readonly most?: number
  /** Batches of the data to measure with. Default 12: with fewer, one odd input decides. */
  readonly batches?: number
  /**
   * Bytes that weights in 16 bits may add, as a share of the model's size. Default 0.05. A model whose output signal is below
   * {@link RUINED} may grow by whatever repairs it.
   */
  readonly mostBytes?: number
  readonly onProgress?: OnProgress
}

interface Culprit {
  readonly what: Switch
  readonly share: number
}

/** Output signal over noise, in decibels, below which a model is ruined. */
export const RUINED = 20
/** Batches of the data that are measured with. */
export const BATCHES = 12
/** Decibels from which on nothing is rescued. */
const ENOUGH = 40
/** A part of the noise this far from the share looked for, as a part of it, is told from few batches. */
const CLEAR = 0.15
/** All places in pieces: in a healthy model each would make about its share of the noise, and say nothing. */
const FIRST_PIECES = 4
/** 16 bits measure as good as float if they leave no more than half a decibel more noise, or no more than is enough. */
const AS_GOOD = 10 ** 0.05

/**
 * Finds the few activations and weights whose rounding ruins a model, with data but without labels: the outputs without any rounding
 * are the measure. Noise of different places adds up, nearly, so pieces of the model are put back in float and only pieces that
 * matter are looked into further: about `2 log2(places)` measurements for each culprit, and a handful where there is none. What was
 * found is then measured in 16 bits, and stays there where that is as good as float.
 */
export async function findRuinous(search: RescueSearch, data: BatchSource): Promise<RescueResult> {
  const measured = await measureFloat(search, data, search.batches ?? BATCHES)
  const said = measured.warnings.length === 0 ? {} : { warnings: measured.warnings }
  const { before, after, culprits } = await findCulprits(search, measured)
  if (culprits.length === 0) return { before: decibels(before), after: decibels(before), rescued: [], ...said }
  const { noise, wide } = await tryWide(search, measured, culprits, after)
  const rescued = culprits.map(({ what, share }): Rescued => {
    const to = wide.has(what) ? '16-bit' : 'float'
    return { ...what, to, share, bytes: extraBytes(search, what, to) }
  })
  return { before: decibels(before), after: decibels(noise), rescued, ...said }
}

async function findCulprits(search: RescueSearch, measured: Measured): Promise<{ readonly before: number; readonly after: number; readonly culprits: readonly Culprit[] }> {
  const { share = 1 / 3, enough = ENOUGH, most = 0.1, mostBytes = 0.05 } = search
  const switches = switchesOf(search.points, search.decisions, search.wideActivations, search.weights)
  const board = new Switchboard(search, measured)
  const limit = Math.max(2, Math.floor(switches.length * most))
  const floating = new Set<Switch>()
  const culprits: Culprit[] = []
  const before = await board.noise(floating)
  let noise = before
  let bytes = 0
  while (culprits.length < limit && decibels(noise.total) < enough) {
    const room = decibels(noise.total) < RUINED ? Infinity : mostBytes * search.host.size() - bytes
    const open = switches.filter((one) => !floating.has(one) && (one.kind === 'activations' || extraBytes(search, one, '16-bit') <= room))
    const worst = await worstOf(board, open, floating, noise, share, search)
    if (worst === undefined) break
    floating.add(worst.what)
    culprits.push(worst)
    bytes += extraBytes(search, worst.what, '16-bit')
    noise = await board.noise(floating)
  }
  return { before: before.total, after: noise.total, culprits }
}

/** What makes the most noise, if that is at least a share of it all. */
async function worstOf(board: Switchboard, open: readonly Switch[], floating: ReadonlySet<Switch>, noise: Noise, share: number, { signal, onProgress }: RescueSearch): Promise<Culprit | undefined> {
  let best: Culprit | undefined
  const search = async (switches: readonly Switch[], pieces: number): Promise<void> => {
    throwIfAborted(signal, 'rescue')
    const parts = split(switches, pieces)
    const least = Math.max(share, best?.share ?? 0)
    const isClear = (i: number, made: number): boolean => made < least * (1 - CLEAR) || (parts[i].length > 1 && made > least * (1 + CLEAR))
    const made = await board.parts(noise, parts.map((part) => new Set([...floating, ...part])), isClear)
    onProgress?.({ phase: 'rescue', done: floating.size, total: floating.size + open.length, item: switches[0]?.points[0] ?? '' })
    // The noisiest first: what it holds may be more than all of another piece.
    for (const i of [...made.keys()].sort((a, b) => made[b] - made[a])) {
      if (made[i] < Math.max(share, best?.share ?? 0)) continue
      if (parts[i].length === 1) best = { what: parts[i][0], share: made[i] }
      else await search(parts[i], 2)
    }
  }
  await search(open, FIRST_PIECES)
  return best
}

function split<T>(all: readonly T[], pieces: number): readonly (readonly T[])[] {
  const size = Math.max(1, Math.ceil(all.length / pieces))
  return Array.from({ length: Math.ceil(all.length / size) }, (_, i) => all.slice(i * size, (i + 1) * size))
}

/** Measures the culprits in 16 bits: all of them, and if that is not as good as float, without each that does better there. */
async function tryWide(search: RescueSearch, measured: Measured, culprits: readonly Culprit[], float: number): Promise<{ readonly noise: number; readonly wide: ReadonlySet<Switch> }> {
  const weights = new Map<string, QTensor>()
  const activations = new Map<string, ActivationParams>()
  const wide = new Set<Switch>()
  for (const { what } of culprits) {
    const found = await wideForm(search, what)
    if (found === undefined) continue
    for (const [point, params] of found.activations ?? []) if (params !== null) activations.set(point, params)
    for (const [site, q] of found.weights ?? []) if (q !== null) weights.set(site, q)
    wide.add(what)
  }
  if (wide.size === 0) return { noise: float, wide }
  const bearable = Math.max(float * AS_GOOD, 10 ** (-(search.enough ?? ENOUGH) / 10))
  const others = culprits.map(({ what }) => what).filter((what) => !wide.has(what))
  const board = new Switchboard(search, measured, inFloat(others, { weights, activations }))
  const back = new Set<Switch>()
  let { total: noise } = await board.noise(back)
  for (const what of wide) {
    if (noise <= bearable) break
    throwIfAborted(search.signal, 'rescue')
    const { total: without } = await board.noise(new Set([...back, what]))
    if (noise <= without * AS_GOOD) continue
    back.add(what)
    noise = without
  }
  return { noise, wide: new Set([...wide].filter((what) => !back.has(what))) }
}

async function wideForm({ wideActivations, wideWeight }: RescueSearch, { kind, points }: Switch): Promise<DecisionSet | undefined> {
  if (kind === 'weight') {
    const q = await wideWeight(points[0])
    return q === undefined ? undefined : { weights: new Map([[points[0], q]]) }
  }
  const params = points.flatMap((point) => {
    const found = wideActivations.get(point)
    return found === undefined ? [] : [[point, found] as const]
  })
  return params.length < points.length ? undefined : { activations: new Map(params) }
}

function extraBytes({ decisions }: RescueSearch, { kind, points: [owner] }: Switch, to: Rescued['to']): number {
  const q = kind === 'weight' ? decisions.weights.get(owner) : undefined
  return q === undefined ? 0 : Math.ceil((q.codes.length * ((to === '16-bit' ? 16 : 32) - bitsOf(q.scheme.dtype))) / 8)
}

function decibels(noise: number): number {
  return noise > 0 ? -10 * Math.log10(noise) : 300
}
