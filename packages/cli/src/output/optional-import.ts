import { LowbitError } from '@lowbit/core'

/** A package that lowbit does without until it is needed. */
export interface OptionalPackage {
  readonly name: string
  /** What it is needed for. */
  readonly what: string
  /** The one command that installs it. */
  readonly install: string
}

/**
 * Loads a package that may not be installed.
 * @throws LOWBIT_DEPENDENCY with the command that installs it
 */
export async function optionalImport<T>(load: () => Promise<T>, { name, what, install }: OptionalPackage): Promise<T> {
  try {
    return await load()
  } catch (cause) {
    const missing = cause instanceof Error && 'code' in cause && (cause.code === 'ERR_MODULE_NOT_FOUND' || cause.code === 'MODULE_NOT_FOUND')
    const words = cause instanceof Error ? cause.message.split('\n')[0] : String(cause)
    throw new LowbitError('LOWBIT_DEPENDENCY', { thing: `package ${name}`, found: missing ? 'not installed' : `it could not be loaded (${words})`, expected: `it is needed for ${what}`, fix: `run \`${install}\` where lowbit is installed`, cause })
  }
}
