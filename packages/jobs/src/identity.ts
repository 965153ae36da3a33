import { sha256, type WorkIdentity } from '@lowbit/core'

/** One digest for all that a run depends on. */
export function identityDigest({ model, data, made, options }: WorkIdentity): string {
  const hash = sha256()
  hash.update(JSON.stringify([model, data, made, options]))
  return hash.hex()
}
