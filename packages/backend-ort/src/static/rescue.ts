import { type BatchSource, type Rescued, type RescueOptions, type RescueResult, throwIfAborted } from '@lowbit/core'
import { Switchboard, type SwitchboardJob } from './switchboard.js'

/**
 * Finds the few activations whose rounding ruins a model, with data but without labels: the float model's own outputs are the
 * measure. Noise of different points adds up, nearly, so halves of the graph are put back in float and only halves that matter
 * are looked into further: about `2 log2(points)` measurements for each culprit, and a handful where there is none.
 */
export async function findRuinous(job: SwitchboardJob, data: BatchSource, options: RescueOptions = {}): Promise<RescueResult> {
  const { share = 1 / 3, enough = 40, most = 0.1, batches = 12 } = options
  const board = await Switchboard.open(job, data, batches)
  try {
    const limit = Math.max(2, Math.floor(board.groups.length * most))
    const inFloat = new Set<string>()
    const rescued: Rescued[] = []
    const before = await board.noise(inFloat)
    let noise = before
    while (rescued.length < limit && decibels(noise) < enough) {
      const worst = await worstGroup(board, inFloat, noise, share, options)
      if (worst === undefined) break
      inFloat.add(worst.group)
      rescued.push({ group: worst.group, share: worst.share, points: job.points.filter((p) => p.group === worst.group).map((p) => p.id) })
      noise = await board.noise(inFloat)
    }
    return { before: decibels(before), after: decibels(noise), rescued }
  } finally {
    await board.release()
  }
}

/** The group that makes the most noise, if that is at least a share of it all. */
async function worstGroup(board: Switchboard, inFloat: ReadonlySet<string>, noise: number, share: number, options: RescueOptions): Promise<{ readonly group: string; readonly share: number } | undefined> {
  let best: { group: string; share: number } | undefined
  const search = async (groups: readonly string[]): Promise<void> => {
    throwIfAborted(options.signal, 'rescue')
    const left = await board.noise(new Set([...inFloat, ...groups]))
    const made = 1 - left / noise
    options.onProgress?.({ phase: 'rescue', done: inFloat.size, total: board.groups.length, item: groups[0] ?? '' })
    if (made < Math.max(share, best?.share ?? 0)) return
    const [only, ...others] = groups
    if (only !== undefined && others.length === 0) {
      best = { group: only, share: made }
      return
    }
    const half = Math.ceil(groups.length / 2)
    await search(groups.slice(0, half))
    await search(groups.slice(half))
  }
  const open = board.groups.filter((group) => !inFloat.has(group))
  if (open.length > 0) await search(open)
  return best
}

function decibels(noise: number): number {
  return noise > 0 ? -10 * Math.log10(noise) : 300
}
