import type * as V1 from '../contract/v1.js'
import type { CapabilityName, HostCapabilities } from '../contract/v2/capabilities.js'
import type { ModelHost } from '../contract/v2/host.js'
import { identity } from './algorithms.js'

/** A v1 host as v2 sees hosts. Decisions stay in the v1 host: what its owner runs afterwards computes them. */
export function adaptHost(v1: V1.ModelHost): ModelHost {
  const capabilities = capabilitiesOf(v1)
  return {
    ...identity(v1),
    supports: { ...v1.supports, capabilities: namesOf(capabilities) },
    capabilities,
    inputs: () => v1.inputs(),
    outputs: () => v1.outputs(),
    sites: () => v1.sites(),
    skipped: () => v1.skipped(),
    foldGroups: () => v1.foldGroups(),
    activations: () => v1.activations(),
    size: () => v1.size(),
    saved: () => 0,
    accepts: (site, scheme, format) => v1.accepts(site, scheme, format),
    readWeight: (site) => v1.readWeight(site),
    writeWeight: (site, weight) => v1.writeWeight(site, weight),
    addBias: (site, delta) => v1.addBias(site, delta),
    apply: (group, transform) => v1.apply(group, transform),
    observe: (requests, data, options) => v1.observe(requests, data, options),
    assign: (site, q) => v1.assign(site, q),
    assignActivation: (point, params) => v1.assignActivation(point, params),
    run: (batch, options) => v1.run(batch, options),
    emit: (format, options) => v1.emit(format, options),
    dispose: () => v1.dispose(),
  }
}

function capabilitiesOf(v1: V1.ModelHost): HostCapabilities {
  const { chooseOperators, residualStreams, fingerprint } = v1
  return {
    ...(chooseOperators === undefined ? {} : { operators: { choose: (choice) => chooseOperators.call(v1, choice) } }),
    ...(residualStreams === undefined ? {} : { residual: { streams: () => residualStreams.call(v1), rotate: (stream, rotation) => v1.apply(stream, rotation) } }),
    ...(fingerprint === undefined ? {} : { fingerprint: { sha256: () => fingerprint.call(v1) } }),
  }
}

function namesOf(capabilities: HostCapabilities): readonly CapabilityName[] {
  const all: readonly CapabilityName[] = ['residual', 'operators', 'fingerprint', 'outputsUnder', 'plans']
  return all.filter((name) => capabilities[name] !== undefined)
}
