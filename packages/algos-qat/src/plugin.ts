import type { FakeQuant, FakeQuantSpec, Json, TrainingAlgorithm } from '@lowbit/core'
import { describeScheme, LowbitError } from '@lowbit/core'
import { PACKAGE, VERSION } from './version.js'

/** A training algorithm of this package. `estimator` is part of its configuration, so that an artifact says which one was used. */
export function algorithm(estimator: string, config: Readonly<Record<string, Json>>, fakeQuant: (spec: FakeQuantSpec) => FakeQuant): TrainingAlgorithm {
  return { kind: 'training', name: PACKAGE, version: VERSION, apiVersion: 2, config: { estimator, ...config }, fakeQuant }
}

/** The error of an estimator that cannot do what it is asked for. */
export function unsupported(estimator: string, spec: FakeQuantSpec, expected: string): LowbitError {
  return new LowbitError('LOWBIT_UNSUPPORTED', { thing: estimator, found: `${spec.role} in ${describeScheme(spec.scheme)}`, expected })
}
