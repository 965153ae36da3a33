import { checkOptions, type Declarations } from '@lowbit/core'
import { DATA_OPTIONS, type DataSpec } from '@lowbit/formats/data'
import { withValueIn, type Path } from './recipe-path.js'

type Spec = Omit<DataSpec, 'path'>

/** How data is read, with another value; what cannot be stays as it was. */
export function changedSpec(spec: Spec, path: Path, value: unknown): Spec {
  const next = withValueIn(spec, path, value) ?? {}
  try {
    requireSpec(next)
    return next
  } catch {
    return spec
  }
}

const OPTIONS: Declarations = { ...DATA_OPTIONS, path: { ...DATA_OPTIONS.path, required: false } }

function requireSpec(value: unknown): asserts value is Spec {
  checkOptions(OPTIONS, value, { form: 'json', code: 'LOWBIT_ARGUMENT', place: (path) => path })
}
