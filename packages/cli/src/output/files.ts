import { LowbitError, schemeBytes, weightScheme, type ModelHost, type Recipe } from '@lowbit/core'
import { checkTargets, resolveTarget, type NamedFile } from '@lowbit/formats/node'

/** A file that a command writes. */
export interface Output extends NamedFile {
  /** Read and written again, such as a cache: never refused for being there. */
  readonly kept?: boolean
}

/** Whether files that are there may be replaced. */
export interface OutputRules {
  readonly noClobber: boolean
}

/**
 * Before any work: what will be written is nothing that is read, has a folder that can be written and room.
 * @param needed - bytes that an output will have at least, by path
 * @throws LOWBIT_ARGUMENT, LOWBIT_FILE
 */
export async function checkOutputs(outputs: readonly Output[], sources: readonly NamedFile[], { noClobber }: OutputRules, needed?: ReadonlyMap<string, number>): Promise<void> {
  await checkTargets(outputs, sources, needed === undefined ? {} : { room: needed })
  if (noClobber) await checkTargets(outputs.filter(({ kept }) => kept !== true), [], { noClobber })
}

/** The last look before a file is replaced that was not to be. @throws LOWBIT_FILE */
export async function checkNotThere(path: string, { noClobber }: OutputRules): Promise<void> {
  if (noClobber && (await resolveTarget(path)).existing !== undefined) await checkTargets([{ what: 'output', path }], [], { noClobber })
}

/** `-` means standard output elsewhere. @throws LOWBIT_ARGUMENT */
export function refuseStream(what: string, text: string | undefined): void {
  if (text !== '-') return
  throw new LowbitError('LOWBIT_ARGUMENT', { thing: what, found: "'-'", expected: 'the name of a file', fix: 'a file is written beside its name and then renamed, so that it is never there by half; a pipe cannot have that' })
}

/** Bytes that the new model has at least: what is no weight stays, and weights have the bits of their type. */
export function leastBytes(host: ModelHost, { weights, overrides = [] }: Pick<Recipe, 'weights' | 'overrides'>): number {
  const types = [weights.dtype, ...overrides.flatMap((o) => (o.weights === null || o.weights === undefined ? [] : [o.weights.dtype]))]
  const owners = host.sites().filter((site) => site.tiedTo === undefined)
  const stored = (dtype: Recipe['weights']['dtype']): number => owners.reduce((sum, { weight }) => sum + schemeBytes(weightScheme(dtype), [weight.rows, weight.columns]), 0)
  const float = owners.reduce((sum, { weight }) => sum + 4 * weight.rows * weight.columns, 0)
  return Math.max(0, host.size() - float) + Math.min(...types.map(stored))
}
